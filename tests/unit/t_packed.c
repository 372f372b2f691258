/* Packed weights in a file (--packed-cache). They are the bytes that packing into memory gives. The
 * file is written once, whole or not at all, and never used when anything about it is wrong. */
#include "packed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gguf_make.h"
#include "outfile.h"
#include "place.h"
#include "test.h"

enum { EMBD, WIDE, UP, BIAS, SLOTS, ROWS = 2837, COLS = 4096 };
static const struct weight_slot slots[SLOTS] = {
    [EMBD] = {.name = "embd", .n_dim = 2, .dim = {64, 256}},
    /* 12 MiB: more than one block, and 5 rows after the last strip */
    [WIDE] = {.name = "wide", .part = PART_OUTPUT, .n_dim = 2, .dim = {ROWS, COLS}},
    [UP] = {.name = "blk.%d.up", .part = PART_FFN, .n_dim = 2, .dim = {37, 256}},
    [BIAS] = {.name = "blk.%d.bias", .part = PART_FFN, .optional = true, .n_dim = 1, .dim = {3}},
};

static struct scene {
    char dir[256], path[300], file[400];
    struct gguf *g;
    struct weights w;
    struct plan plan;
    struct ops *ops;
    bool disturb; /* the model changes while it is packed */
    int written;  /* calls of progress, that is, pieces that a writer wrote */
} sc;

static void scene_open(void)
{
    struct err e;
    ok(gguf_open(sc.path, &sc.g, &e));
    ok(weights_bind(sc.g, slots, SLOTS, 2, &sc.w, &e));
}

static void scene_close(void)
{
    weights_free(&sc.w);
    gguf_close(sc.g);
}

static void scene_model(unsigned char first)
{
    struct gguf_make m;
    make_init(&m);
    make_tensor(&m, "embd", 2, (uint64_t[]){256, 64}, FMT_Q4_K);
    make_tensor(&m, "blk.1.up", 2, (uint64_t[]){256, 37}, FMT_Q6_K);
    make_tensor(&m, "blk.0.up", 2, (uint64_t[]){256, 37}, FMT_Q4_K);
    make_tensor(&m, "blk.1.bias", 1, (uint64_t[]){3}, FMT_F32);
    make_tensor(&m, "wide", 2, (uint64_t[]){COLS, ROWS}, FMT_Q8_0);
    m.data.s[0] = (char)first;
    make_save(&m, sc.path);
    make_free(&m);
}

static int set_up(void **state)
{
    struct err e;
    const uint64_t attn[2] = {0}, ffn[2] = {37 * 144, 37 * 210};
    struct plan_input in = {.n_layer = 2,
                            .attn_bytes = attn,
                            .ffn_bytes = ffn,
                            .kv_bytes_per_token = 1,
                            .n_ctx = 1,
                            .n_seq = 1,
                            .weights_mapped = true};
    (void)state;
    memset(&sc, 0, sizeof sc);
    char *real = realpath(test_mkdir(sc.dir), NULL);
    assert_non_null(real);
    snprintf(sc.dir, sizeof sc.dir, "%s", real);
    free(real);
    snprintf(sc.path, sizeof sc.path, "%s/m.gguf", sc.dir);
    scene_model(1);
    scene_open();
    ok(plan_make(&in, &sc.plan, &e));
    ok(ops_open("cpu", &(struct ops_options){.n_threads = 2, .isa = "auto"}, &sc.ops, &e));
    snprintf(sc.file, sizeof sc.file, "%s.%s.packed", sc.path,
             sc.ops->pack_order ? sc.ops->pack_order : "none");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ops_close(sc.ops);
    plan_free(&sc.plan);
    scene_close();
    test_rmdir(sc.dir);
    return 0;
}

#define need_order()                                                                               \
    do {                                                                                           \
        if (!sc.ops->pack_order) {                                                                 \
            print_message("skipped: this processor packs no weights\n");                           \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

static void count(uint64_t done, uint64_t total, void *user)
{
    assert_true(done <= total);
    if (sc.disturb)
        assert_int_equal(chmod(sc.path, 0600 + (*(int *)user & 1) * 040), 0);
    ++*(int *)user;
}

static int open_at(const char *where, struct packed **p, struct err *e)
{
    const struct packed_options o = {
        .where = where, .w = &sc.w, .ops = sc.ops, .progress = count, .user = &sc.written};
    sc.written = 0;
    return packed_open(&o, p, e);
}

static void parts(struct place *p, const struct tensor *t[2][SLOTS])
{
    struct err e;
    for (int l = 0; l < 2; l++) {
        ok(place_part(p, PART_EMBED, 0, t[l], &e));
        ok(place_part(p, PART_FFN, l, t[l], &e));
        ok(place_part(p, PART_OUTPUT, 0, t[l], &e));
    }
}

/* The weights of the file are those of a copy in memory, bit for bit. */
static void same_as_in_memory(struct packed *packed)
{
    struct err e;
    struct place *copy, *view;
    const struct tensor *a[2][SLOTS] = {{0}}, *b[2][SLOTS] = {{0}};
    sc.plan.weights_mapped = false;
    ok(place_open(&sc.plan, &sc.w, &sc.ops, NULL, NULL, 0, &copy, &e));
    ok(place_load(copy, NULL, NULL, &e));
    sc.plan.weights_mapped = true;
    ok(place_open(&sc.plan, &sc.w, &sc.ops, NULL, packed, 0, &view, &e));
    ok(place_load(view, NULL, NULL, &e));
    parts(copy, a);
    parts(view, b);
    int lanes = 0;
    for (int l = 0; l < 2; l++)
        for (int s = 0; s < SLOTS; s++) {
            assert_int_equal(!a[l][s]->data, !b[l][s]->data);
            if (!a[l][s]->data)
                continue;
            assert_int_equal(a[l][s]->lanes, b[l][s]->lanes);
            assert_int_equal((uintptr_t)b[l][s]->data % 256, 0);
            assert_memory_equal(a[l][s]->data, b[l][s]->data, tensor_bytes(a[l][s]));
            lanes += a[l][s]->lanes;
        }
    assert_int_equal(lanes, 4); /* up and wide, seen from two layers; not the embedding */
    place_free(view);
    place_free(copy);
}

static void put(const char *path, const void *data, size_t n)
{
    struct err e;
    ok(outfile_save(path, data, n, &e));
}

static struct stat looked_at(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st;
}

static void the_file_is_written_once_and_equals_a_copy_in_memory(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p;
    ok(open_at("", &p, &e));
    assert_null(p);
    ok(open_at("true", &p, &e));
    assert_true(sc.written > 0);
    assert_string_equal(packed_path(p), sc.file);
    same_as_in_memory(p);
    packed_close(p);
    const ino_t ino = looked_at(sc.file).st_ino;
    ok(open_at("true", &p, &e));
    assert_int_equal(sc.written, 0);
    assert_int_equal(looked_at(sc.file).st_ino, ino);
    same_as_in_memory(p);
    packed_close(p);
    assert_int_equal(test_count(sc.dir), 2); /* no lock and no part stays behind */
}

/* Opens it, and returns what stderr got. */
static char *opened(struct packed **p)
{
    struct err e = {0};
    char log[300];
    size_t n;
    snprintf(log, sizeof log, "%s/log", sc.dir);
    fflush(stderr);
    const int keep = dup(2), fd = open(log, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(dup2(fd, 2), 2);
    const int rc = open_at("true", p, &e);
    assert_int_equal(dup2(keep, 2), 2);
    close(keep);
    close(fd);
    char *text = test_read(log, &n);
    unlink(log);
    if (rc < 0)
        fail_msg("rc %d, %s, said: %s", rc, e.msg, text);
    return text;
}

/* Opens it again: the reason is said, and the new file is right. */
static void written_again(const char *reason)
{
    struct packed *p;
    char *text = opened(&p);
    if (!p || !sc.written || !strstr(text, reason) || !strstr(text, sc.file))
        fail_msg("%s: %d pieces, said: %s", reason, sc.written, text);
    free(text);
    same_as_in_memory(p);
    packed_close(p);
}

/* Opens it without packed weights: the reason is said. */
static void left(const char *reason)
{
    struct packed *p;
    char *text = opened(&p);
    if (p || sc.written || !strstr(text, reason) || !strstr(text, sc.file))
        fail_msg("%s: %d pieces, said: %s", reason, sc.written, text);
    free(text);
}

static void change(off_t at, int from)
{
    const int fd = open(sc.file, O_RDWR);
    const off_t end = lseek(fd, 0, from);
    unsigned char c;
    assert_int_equal(pread(fd, &c, 1, end + at), 1);
    c ^= 1;
    assert_int_equal(pwrite(fd, &c, 1, end + at), 1);
    close(fd);
}

static void a_damaged_file_is_refused_and_written_again(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p;
    ok(open_at("true", &p, &e));
    packed_close(p);
    const off_t size = looked_at(sc.file).st_size;
    change(5, SEEK_SET); /* in the magic of the head: that of the foot tells what it is */
    written_again("the weights from byte 0 on are damaged");
    change(300, SEEK_SET);
    written_again("the weights from byte 0 on are damaged");
    change((off_t)PACKED_BLOCK, SEEK_SET);
    written_again("the weights from byte 8388608 on are damaged");
    change(12000000, SEEK_SET); /* the last block, which is short */
    written_again("the weights from byte 8388608 on are damaged");
    change(-60, SEEK_END); /* a sum */
    written_again("its table is damaged");
    change(-1, SEEK_END);
    written_again("its table is damaged");
    change(-40, SEEK_END);
    written_again("its end is missing or damaged");
    change(-33, SEEK_END); /* the version in the foot */
    written_again("another version of this program wrote it");
    change(-32, SEEK_END);
    written_again("are not the size that it notes");
    assert_int_equal(truncate(sc.file, size - 1), 0);
    written_again("its end is missing or damaged");
    assert_int_equal(truncate(sc.file, size + 1), 0);
    written_again("its end is missing or damaged");
    assert_int_equal(truncate(sc.file, 20), 0);
    written_again("it has no end");
    assert_int_equal(truncate(sc.file, 0), 0);
    written_again("it is empty");
    /* the first layout has its magic at the end alone */
    char old[140] = {0};
    memcpy(old + 100, "maspack1", 8);
    assert_int_equal(unlink(sc.file), 0);
    put(sc.file, old, sizeof old);
    written_again("another version of this program wrote it");
}

/* A thing other than packed weights stays as it is, and the start goes on without them. */
static void anything_else_of_that_name_stays(void **state)
{
    (void)state;
    need_order();
    static const char note[] = "three bytes of maspack2 are not enough";
    char other[300];
    size_t n;
    snprintf(other, sizeof other, "%s/other", sc.dir);
    put(other, note, sizeof note);
    put(sc.file, note, sizeof note);
    left("it is a file with other content, not a file of packed weights, and stays as it is; "
         "remove it with rm or");
    put(sc.file, "mas", 3);
    left("it is a file with other content");
    assert_int_equal(looked_at(sc.file).st_size, 3);
    assert_int_equal(unlink(sc.file), 0);
    assert_int_equal(symlink(other, sc.file), 0);
    left("it is a symbolic link");
    char *text = test_read(other, &n);
    assert_int_equal(n, sizeof note);
    assert_memory_equal(text, note, n);
    free(text);
    assert_int_equal(unlink(sc.file), 0);
    assert_int_equal(symlink(sc.path, sc.file), 0); /* to the model */
    const ino_t model = looked_at(sc.path).st_ino;
    left("it is a symbolic link");
    assert_int_equal(looked_at(sc.path).st_ino, model);
    assert_int_equal(unlink(sc.file), 0);
    assert_int_equal(symlink("nowhere", sc.file), 0);
    left("it is a symbolic link");
    assert_int_equal(unlink(sc.file), 0);
    assert_int_equal(mkfifo(sc.file, 0600), 0);
    alarm(100); /* instead of a hang */
    left("it is a FIFO");
    alarm(0);
    assert_true(S_ISFIFO(looked_at(sc.file).st_mode));
    assert_int_equal(unlink(sc.file), 0);
    assert_int_equal(mkdir(sc.file, 0700), 0);
    left("it is a folder, not a file of packed weights, and stays as it is; remove it with rm -r");
    assert_int_equal(rmdir(sc.file), 0);
    assert_int_equal(test_count(sc.dir), 2);
}

/* A file that somebody could have forged is replaced by one of this user. */
static void a_file_of_a_third_user_is_replaced(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p;
    if (geteuid() != 0) {
        print_message("skipped: only root gives files away\n");
        skip();
    }
    ok(open_at("true", &p, &e));
    packed_close(p);
    assert_int_equal(chown(sc.file, 12345, 12345), 0);
    written_again("it belongs to user 12345, who is neither you, nor root, nor the model's owner");
    assert_int_equal(looked_at(sc.file).st_uid, 0);
    ok(open_at("true", &p, &e));
    assert_true(p && !sc.written);
    packed_close(p);
    assert_int_equal(chown(sc.path, 12345, 12345), 0); /* its change time differs, too */
    written_again("the change time (ctime) of the model was ");
    assert_int_equal(chown(sc.file, 12345, 12345), 0);
    ok(open_at("true", &p, &e)); /* of the model's owner */
    assert_true(p && !sc.written);
    packed_close(p);
}

/* Bytes that no sample meets, with the times of before. */
static void a_model_that_changes_in_place_is_noticed(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p;
    char copy[320];
    size_t n;
    ok(open_at("true", &p, &e));
    packed_close(p);
    const struct stat st = looked_at(sc.path);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    scene_close();
    const int fd = open(sc.path, O_RDWR);
    unsigned char c;
    assert_int_equal(pread(fd, &c, 1, st.st_size / 2), 1);
    c ^= 1;
    assert_int_equal(pwrite(fd, &c, 1, st.st_size / 2), 1);
    close(fd);
    assert_int_equal(utimensat(AT_FDCWD, sc.path, times, 0), 0);
    assert_int_equal(looked_at(sc.path).st_mtim.tv_nsec, st.st_mtim.tv_nsec);
    scene_open();
    written_again("made from other weights: the change time (ctime) of the model was ");
    /* another file with the same bytes and times */
    scene_close();
    snprintf(copy, sizeof copy, "%s/copy", sc.dir);
    char *bytes = test_read(sc.path, &n);
    put(copy, bytes, n);
    free(bytes);
    assert_int_equal(utimensat(AT_FDCWD, copy, times, 0), 0);
    assert_int_equal(rename(copy, sc.path), 0);
    scene_open();
    written_again("made from other weights: the inode of the model was ");
}

static void another_version_of_the_model_or_the_order_is_not_taken(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p;
    ok(open_at("true", &p, &e));
    packed_close(p);
    struct stat st = looked_at(sc.path);
    const struct timespec later[2] = {st.st_atim, {st.st_mtim.tv_sec + 1, st.st_mtim.tv_nsec}};
    scene_close();
    assert_int_equal(utimensat(AT_FDCWD, sc.path, later, 0), 0);
    scene_open();
    written_again("it was made from other weights: the time of the last write of the model was ");
    /* a file of another order under this name, as after a change of the program without a new name
     */
    const char *order = sc.ops->pack_order;
    sc.ops->pack_order = "other-9";
    char other[400];
    snprintf(other, sizeof other, "%s.other-9.packed", sc.path);
    ok(open_at("true", &p, &e));
    packed_close(p);
    sc.ops->pack_order = order;
    assert_int_equal(rename(other, sc.file), 0);
    written_again("the order of the weights was other-9, it is ");
}

static void a_file_in_use_that_changes_is_an_error(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p;
    struct place *view;
    const struct tensor *t[SLOTS];
    ok(open_at("true", &p, &e));
    ok(packed_unchanged(p, &e));
    ok(place_open(&sc.plan, &sc.w, &sc.ops, NULL, p, 0, &view, &e));
    ok(place_load(view, NULL, NULL, &e));
    ok(place_part(view, PART_EMBED, 0, t, &e));
    ok(place_release(view, PART_EMBED, 0, &e));
    assert_int_equal(truncate(sc.file, 64), 0);
    fails(packed_unchanged(p, &e), ERR_IO, "packed weights changed while they were in use");
    fails(place_part(view, PART_EMBED, 0, t, &e), ERR_IO, "packed weights changed");
    place_free(view);
    packed_close(p);
    ok(open_at("true", &p, &e));
    /* another process writes it again: the mapped one lives on */
    assert_int_equal(unlink(sc.file), 0);
    ok(packed_unchanged(p, &e));
    same_as_in_memory(p);
    packed_close(p);
}

/* Times alone are no change; a changed weight is one, also with the times of before. */
static void a_file_in_use_is_compared_when_its_times_change(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p;
    ok(open_at("true", &p, &e));
    const struct stat st = looked_at(sc.file);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    const struct timespec later[2] = {st.st_atim, {st.st_mtim.tv_sec + 9, 0}};
    assert_int_equal(utimensat(AT_FDCWD, sc.file, later, 0), 0);
    ok(packed_unchanged(p, &e));
    ok(packed_unchanged(p, &e));
    same_as_in_memory(p);
    change((off_t)PACKED_BLOCK + 77, SEEK_SET);
    assert_int_equal(utimensat(AT_FDCWD, sc.file, later, 0), 0);
    for (int i = 0; i < 2; i++)
        fails(packed_unchanged(p, &e), ERR_IO,
              ".packed: the weights from byte 8388608 on are damaged; start again");
    change((off_t)PACKED_BLOCK + 77, SEEK_SET); /* back */
    assert_int_equal(utimensat(AT_FDCWD, sc.file, times, 0), 0);
    ok(packed_unchanged(p, &e));
    packed_close(p);
}

static void a_model_that_changes_while_it_is_packed_has_none(void **state)
{
    (void)state;
    need_order();
    struct packed *p;
    sc.disturb = true;
    char *text = opened(&p);
    if (p || !strstr(text, "the model changed while it was packed: the change time (ctime) of the"))
        fail_msg("said: %s", text);
    free(text);
    assert_int_equal(test_count(sc.dir), 1);
}

/* All links to a model have one file. */
static void a_link_to_a_model_has_the_file_of_the_model(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p;
    char link[320];
    ok(open_at("true", &p, &e));
    packed_close(p);
    scene_close();
    snprintf(link, sizeof link, "%s/link.gguf", sc.dir);
    assert_int_equal(symlink(sc.path, link), 0);
    snprintf(sc.path, sizeof sc.path, "%s", link);
    scene_open();
    ok(open_at("true", &p, &e));
    assert_int_equal(sc.written, 0);
    assert_string_equal(packed_path(p), sc.file);
    packed_close(p);
    ok(open_at(sc.dir, &p, &e));
    assert_true(sc.written && strstr(packed_path(p), "/m.gguf."));
    packed_close(p);
}

static void a_folder_holds_the_files_of_models_of_one_name(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p, *q;
    char cache[300], twin[330];
    snprintf(cache, sizeof cache, "%s/cache", sc.dir);
    snprintf(twin, sizeof twin, "%s/twin", sc.dir);
    fails(open_at(cache, &p, &e), ERR_USAGE, "it is no folder");
    assert_int_equal(mkdir(cache, 0700), 0);
    assert_int_equal(mkdir(twin, 0700), 0);
    ok(open_at(cache, &p, &e));
    assert_true(strncmp(packed_path(p), cache, strlen(cache)) == 0);
    scene_close();
    snprintf(twin, sizeof twin, "%s/twin/m.gguf", sc.dir);
    assert_int_equal(rename(sc.path, twin), 0);
    snprintf(sc.path, sizeof sc.path, "%s", twin);
    scene_open();
    ok(open_at(cache, &q, &e));
    assert_string_not_equal(packed_path(p), packed_path(q));
    assert_int_equal(test_count(cache), 2);
    packed_close(p);
    same_as_in_memory(q);
    packed_close(q);
}

/* A limit on the size of files stands for a full disk. A file that may not be used is gone then: it
 * needed room, too. */
static void without_room_there_is_a_warning_and_no_file(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p;
    ok(open_at("true", &p, &e));
    packed_close(p);
    change(300, SEEK_SET);
    struct rlimit old, low = {1 << 20, 1 << 20};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    const int rc = open_at("true", &p, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, 0);
    assert_null(p);
    assert_int_equal(test_count(sc.dir), 1); /* the model */
}

static void a_folder_that_may_not_be_written_serves_the_file_it_has(void **state)
{
    (void)state;
    need_order();
    struct err e;
    struct packed *p;
    if (geteuid() == 0) { /* root may write everywhere: an ordinary user tries */
        assert_int_equal(chmod(sc.dir, 0777), 0);
        assert_int_equal(chown(sc.dir, 65534, 65534), 0);
        assert_int_equal(chown(sc.path, 65534, 65534), 0);
    }
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        int bad = 0;
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(9);
        bad |= open_at("true", &p, &e) < 0 || !p || !sc.written;
        packed_close(p);
        bad |= chmod(sc.dir, 0555) != 0;
        bad |= open_at("true", &p, &e) < 0 || !p || sc.written ? 2 : 0;
        packed_close(p);
        change(5, SEEK_SET); /* mapped by others, perhaps: it must not be overwritten in place */
        const off_t size = looked_at(sc.file).st_size;
        bad |= open_at("true", &p, &e) < 0 || p || sc.written ? 4 : 0;
        bad |= looked_at(sc.file).st_size != size ? 8 : 0;
        bad |= chmod(sc.dir, 0777) != 0;
        _exit(bad);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Another process holds the folder for 1.6 s. */
static void who_is_waited_for_is_said(void **state)
{
    (void)state;
    need_order();
    struct packed *p;
    int held[2];
    char c, want[80];
    assert_int_equal(pipe(held), 0);
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        const int dir = open(sc.dir, O_RDONLY | O_DIRECTORY);
        if (flock(dir, LOCK_EX) != 0 || write(held[1], "x", 1) != 1)
            _exit(1);
        usleep(1600000);
        _exit(0);
    }
    assert_int_equal(read(held[0], &c, 1), 1);
    struct str locks = STR_INIT; /* does this system say who holds a lock? */
    test_run(&locks, "cat /proc/locks");
    snprintf(want, sizeof want, " %ld ", (long)pid);
    if (strstr(locks.s, want))
        snprintf(want, sizeof want, "waiting for process %ld, which writes packed", (long)pid);
    else
        snprintf(want, sizeof want, "waiting for another process, which writes packed");
    str_free(&locks);
    char *text = opened(&p);
    if (!p || !strstr(text, want) || !strstr(text, "going on with "))
        fail_msg("want '%s', said: %s", want, text);
    free(text);
    packed_close(p);
    close(held[0]);
    close(held[1]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Six processes need the file at once: one writes it, all map it. */
static void of_several_processes_one_writes(void **state)
{
    (void)state;
    need_order();
    enum { N = 6 };
    pid_t pid[N];
    int go[2], writers = 0;
    assert_int_equal(pipe(go), 0);
    fflush(NULL);
    for (int i = 0; i < N; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            struct err e;
            struct packed *p = NULL;
            struct ops *ops; /* the threads of the parent's are not here */
            char c;
            close(go[1]);
            if (ops_open("cpu", &(struct ops_options){.n_threads = 2, .isa = "auto"}, &ops, &e) < 0)
                _exit(9);
            sc.ops = ops;
            if (read(go[0], &c, 1) != 0) /* until the parent closes it */
                _exit(8);
            if (open_at("true", &p, &e) < 0 || !p)
                _exit(7);
            packed_close(p);
            _exit(sc.written ? 1 : 0);
        }
    }
    close(go[0]);
    close(go[1]);
    for (int i = 0; i < N; i++) {
        int status;
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFEXITED(status));
        assert_true(WEXITSTATUS(status) <= 1);
        writers += WEXITSTATUS(status);
    }
    assert_int_equal(writers, 1);
    assert_int_equal(test_count(sc.dir), 2);
}

/* Pieces are whole strips and whole lines of a checksum, and the last one has a strip at least. */
static void pieces_of_a_matrix_are_whole(void **state)
{
    (void)state;
    const size_t row_bytes[] = {18, 144, 4352, 1 << 20};
    for (size_t k = 0; k < sizeof row_bytes / sizeof *row_bytes; k++) {
        struct tensor t = {.n_dim = 2, .row_bytes = row_bytes[k]};
        t.dim[0] = INT32_MAX;
        const int64_t step = packed_step(&t, 0);
        assert_true(step % 64 == 0 && step * (int64_t)t.row_bytes >= 60 << 20);
        const int64_t rows[] = {1, 15, step, step + 1, step + 15, 2 * step + 5, 2 * step + 16};
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            int64_t at = 0;
            t.dim[0] = rows[i];
            for (int64_t n; at < rows[i]; at += n) {
                n = packed_step(&t, at);
                assert_true(n >= 16 || n == rows[i]);
                assert_true(at + n == rows[i] || n == step);
            }
            assert_int_equal(at, rows[i]);
        }
    }
}

static void models_without_a_file_or_an_order_have_none(void **state)
{
    (void)state;
    struct err e;
    struct packed *p;
    size_t n;
    struct ops *scalar, *ops = sc.ops;
    char *bytes = test_read(sc.path, &n);
    void *at = aligned_alloc(64, (n + 63) / 64 * 64);
    memcpy(at, bytes, n);
    free(bytes);
    ok(ops_open("cpu", &(struct ops_options){.n_threads = 1, .isa = "scalar"}, &scalar, &e));
    sc.ops = scalar;
    ok(open_at("true", &p, &e));
    assert_null(p);
    ops_close(scalar);
    sc.ops = ops;
    scene_close();
    ok(gguf_open_memory(at, n, "no such file", &sc.g, &e));
    ok(weights_bind(sc.g, slots, SLOTS, 2, &sc.w, &e));
    ok(open_at("true", &p, &e));
    assert_null(p);
    assert_int_equal(test_count(sc.dir), 1);
    scene_close();
    free(at);
    scene_open();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_file_is_written_once_and_equals_a_copy_in_memory,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_refused_and_written_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(anything_else_of_that_name_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_of_a_third_user_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_model_that_changes_in_place_is_noticed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_in_use_is_compared_when_its_times_change, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_model_that_changes_while_it_is_packed_has_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_link_to_a_model_has_the_file_of_the_model, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_is_waited_for_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_version_of_the_model_or_the_order_is_not_taken,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_in_use_that_changes_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_holds_the_files_of_models_of_one_name, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_room_there_is_a_warning_and_no_file, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_may_not_be_written_serves_the_file_it_has,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_several_processes_one_writes, set_up, tear_down),
        cmocka_unit_test(pieces_of_a_matrix_are_whole),
        cmocka_unit_test_setup_teardown(models_without_a_file_or_an_order_have_none, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
