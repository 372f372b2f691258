/*
 * body_read: reads memory once and does nothing else, the reference for decode speed. The bandwidth
 * of a core depends on the number of places that it reads at once and on prefetch. The best pattern
 * differs between processors.
 */

/* bytes of a line; lines of a stream at once; bytes of prefetch distance, as in body_lanes512.h */
enum { READ_LINE = 64, READ_TURN = 4, READ_AHEAD = 8192 };

/* `streams` stretches of `lines` lines each, one after the other in memory, side by side. */
static inline __attribute__((always_inline)) uint64_t
read_streams(const char *p, int64_t lines, const int streams, const bool ahead)
{
    typedef uint64_t line __attribute__((vector_size(READ_LINE), may_alias));
    line sum[4 * READ_TURN] = {{0}};
    int64_t i = 0;
    for (; i + READ_TURN <= lines; i += READ_TURN)
        for (int s = 0; s < streams; s++)
            for (int k = 0; k < READ_TURN; k++) {
                const char *at = p + (s * lines + i + k) * READ_LINE;
                if (ahead)
                    __builtin_prefetch(at + READ_AHEAD, 0, 2);
                sum[s * READ_TURN + k] ^= *(const line *)(const void *)at;
            }
    for (; i < lines; i++)
        for (int s = 0; s < streams; s++)
            sum[0] ^= *(const line *)(const void *)(p + (s * lines + i) * READ_LINE);
    uint64_t all = 0;
    for (int k = 0; k < streams * READ_TURN; k++)
        for (size_t j = 0; j < sizeof(line) / sizeof all; j++)
            all ^= sum[k][j];
    return all;
}

/* The exclusive or of the n bytes at p as words; both are multiples of READ_LINE. streams 1..4. */
static uint64_t kernel_read(const char *p, int64_t n, int streams, bool ahead)
{
    int64_t part = n / READ_LINE / streams, rest = n - part * streams * READ_LINE;
    uint64_t sum = rest ? read_streams(p + n - rest, rest / READ_LINE, 1, false) : 0;
#define READ_CASE(k)                                                                               \
    case k:                                                                                        \
        return sum ^ (ahead ? read_streams(p, part, k, true) : read_streams(p, part, k, false))
    switch (streams) {
        READ_CASE(1);
        READ_CASE(2);
        READ_CASE(3);
    default:
        return sum ^ (ahead ? read_streams(p, part, 4, true) : read_streams(p, part, 4, false));
    }
#undef READ_CASE
}
