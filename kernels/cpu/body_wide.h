/* body_wide: chooses the kernel for a format of MM_PACKS, of body_wide256.h or body_wide_neon.h.
 * Included by those only. */

static void wide_tile(const struct mm_x *x, enum fmt fmt, const struct unpack *from,
                      const void *strip, int64_t r0, int nr, float *t)
{
    if (mm_x_block(fmt) == 32) {
        if (mm_has_min(fmt))
            wide_tile_32_min(x, from, strip, r0, nr, t);
        else
            wide_tile_32(x, from, strip, r0, nr, t);
    } else if (mm_group(fmt) == 32)
        wide_tile_256_32(x, from, strip, r0, nr, t);
    else if (mm_has_min(fmt))
        wide_tile_256_16_min(x, from, strip, r0, nr, t);
    else
        wide_tile_256_16(x, from, strip, r0, nr, t);
}

static void wide_unpacked(const struct mm_x *x, enum fmt fmt, const void *strip, int64_t r0, int nr,
                          float *t)
{
    wide_tile(x, fmt, NULL, strip, r0, nr, t);
}

static bool wide_unpacks(enum fmt fmt, int n_row)
{
    return !mm_by_rows(fmt) && n_row > 4;
}

static void wide_strip(const struct mm_x *x, enum fmt fmt, const char *strip, int64_t r0, int nr,
                       float *t)
{
    struct unpack from;
    if (mm_by_rows(fmt)) {
        WIDE_STRIP_OF_OTHERS(x, fmt, strip, r0, nr, t);
        return;
    }
    unpack_open(&from, fmt, strip, x->n_in);
    wide_tile(x, fmt, &from, NULL, r0, nr, t);
}
