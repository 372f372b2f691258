/*
 * shim_wgmma: the asynchronous products of Hopper's warpgroups.
 *
 * A product is computed when its thread waits for it, from the contents of registers and shared
 * memory at that time. Its sums are written then. Code that touches an operand or a sum too early
 * gets wrong numbers.
 *
 * Checked rules of the hardware: fences, alignment of tiles, no unfinished product at the end, the
 * same product in all four warps of a group.
 */
#include "shim_rt.h"

namespace cushim
{

enum { TILE_ROW = 128, TILE_ROWS = 8, TILE = TILE_ROW * TILE_ROWS, MAX_N = 128, K = 32 };

/* A write to shared memory by other means than wgmma must be fenced before wgmma reads it. Of such
 * writes, only the order of copies is known here. */
void proxy_dirty(void)
{
    current()->unfenced = true;
}

void proxy_fence(void)
{
    current()->unfenced = false;
}

void wgmma_fence_regs(void)
{
    current()->products_fenced = true;
}

void wgmma_issue(int *d, const uint32_t *a, const void *b, unsigned n, bool a_signed, bool add,
                 struct site at)
{
    struct thread *t = current();
    const struct block *k = t->block;
    const uintptr_t in = (uintptr_t)b % TILE;
    if (k->n_thread % (4 * WARP))
        kernel_fail("wgmma at %s:%d in a block of %u threads, must be a multiple of %d",
                    file_name(at.file), at.line, k->n_thread, 4 * WARP);
    if (in >= TILE_ROW || in % 16)
        kernel_fail("wgmma at %s:%d: its tile begins %zu bytes after a multiple of %d",
                    file_name(at.file), at.line, (size_t)in, TILE);
    if (!shared_holds(k, static_cast<const char *>(b) - in, n / TILE_ROWS * TILE))
        kernel_fail("wgmma at %s:%d: its tile of %u rows at %p is not inside shared memory",
                    file_name(at.file), at.line, n, b);
    if (!t->products_fenced)
        kernel_fail("wgmma at %s:%d without a wgmma.fence after the last group", file_name(at.file),
                    at.line);
    for (unsigned i = 0; i < k->n_thread; i++)
        if (k->thread[i].unfenced)
            kernel_fail("wgmma at %s:%d: thread %u has copied to shared memory since its last "
                        "fence.proxy.async",
                        file_name(at.file), at.line, i);
    if (t->n_product == MAX_PRODUCTS)
        kernel_fail("wgmma at %s:%d: more than %d are under way", file_name(at.file), at.line,
                    MAX_PRODUCTS);
    t->product[t->n_product++] = {d, a, b, n, t->product_group, a_signed, add, at};
}

void wgmma_commit_group(void)
{
    struct thread *t = current();
    t->product_group++;
    t->products_fenced = false;
}

/* Piece c of row r of the tile at p: 16 bytes, at the place that the swizzle gives. */
static const int8_t *tile_at(const void *p, unsigned r, unsigned byte)
{
    const uintptr_t at = (uintptr_t)p + r / TILE_ROWS * TILE + r % TILE_ROWS * TILE_ROW + byte;
    return reinterpret_cast<const int8_t *>(at ^ (at / TILE_ROW % TILE_ROWS) * 16);
}

static void multiply(struct warp *w, const struct product *of)
{
    static float a[16][K], b[K][MAX_N], d[16][MAX_N];
    const unsigned n = of->n;
    struct thread *me = current();
    for (unsigned r = 0; r < n; r++) {
        cur = w->t + r % WARP;
        for (unsigned half = 0; half < 2; half++) {
            const int8_t *p = tile_at(of->b, r, 16 * half);
            race_note(p, 16, false, of->at);
            for (unsigned i = 0; i < 16; i++)
                b[16 * half + i][r] = p[i];
        }
    }
    cur = me;
    const size_t which = (size_t)(of - w->t->product);
    for (unsigned l = 0; l < WARP; l++)
        for (unsigned i = 0; i < 16; i++) {
            const unsigned byte = w->t[l].product[which].a[i / 4] >> 8 * (i % 4) & 255;
            a[l / 4 + 8 * (i / 4 % 2)][l % 4 * 4 + i % 4 + 16 * (i / 8)] =
                of->a_signed ? (float)(int8_t)byte : (float)byte;
        }
    for (unsigned i = 0; i < 16; i++) { /* in f32: exact, below 2^24 */
        for (unsigned j = 0; j < n; j++)
            d[i][j] = 0;
        for (unsigned k = 0; k < K; k++)
            for (unsigned j = 0; j < n; j++)
                d[i][j] += a[i][k] * b[k][j];
    }
    for (unsigned l = 0; l < WARP; l++) {
        const struct product *p = &w->t[l].product[which];
        for (unsigned i = 0; i < n / 2; i++) {
            const int v = (int)d[l / 4 + 8 * (i / 2 % 2)][i / 4 * 8 + l % 4 * 2 + i % 2];
            p->d[i] = p->add ? (int)((unsigned)p->d[i] + (unsigned)v) : v;
        }
    }
}

void wgmma_wait_groups(unsigned groups_left, struct site at)
{
    warp_collective(WGMMA_WAIT, groups_left, 0xffffffffu, 0, 0, at);
}

void products_finish(struct warp *w, const struct lane_op *op)
{
    const struct thread *first = w->t;
    unsigned done = 0;
    for (unsigned l = 1; l < WARP; l++)
        if (w->t[l].n_product != first->n_product || w->t[l].product_group != first->product_group)
            return kernel_fail("wait for wgmma at %s:%d: lane 0 has %u under way, lane %u has %u",
                               file_name(op->at.file), op->at.line, first->n_product, l,
                               w->t[l].n_product);
    for (; done < first->n_product; done++) {
        const struct product *p = &first->product[done];
        if (p->group + op->tag >= first->product_group)
            break;
        for (unsigned l = 1; l < WARP; l++) {
            const struct product *q = &w->t[l].product[done];
            if (q->b != p->b || q->n != p->n || q->add != p->add || q->a_signed != p->a_signed)
                return kernel_fail("wgmma at %s:%d: lanes 0 and %u do not ask for the same",
                                   file_name(p->at.file), p->at.line, l);
        }
        multiply(w, p);
    }
    w->products += done;
    for (unsigned l = 0; l < WARP; l++) {
        struct thread *t = w->t + l;
        t->n_product -= done;
        memmove(t->product, t->product + done, t->n_product * sizeof *t->product);
    }
}

void products_end(struct thread *t)
{
    if (t->n_product)
        kernel_fail("a thread returns with a wgmma under way, issued at %s:%d",
                    file_name(t->product[0].at.file), t->product[0].at.line);
    t->unfenced = t->products_fenced = false;
    t->product_group = 0;
}

void products_block_end(struct block *b)
{
    for (unsigned i = 0; i < b->n_warp; i++) {
        const struct warp *lead = &b->warp[i / 4 * 4];
        if (b->warp[i].products != lead->products)
            kernel_note("warp %u of a block has done %llu wgmma, warp %u of its group %llu", i,
                        (unsigned long long)b->warp[i].products, i / 4 * 4,
                        (unsigned long long)lead->products);
    }
    for (unsigned i = 0; i < b->n_warp; i++)
        b->warp[i].products = 0;
}

} /* namespace cushim */
