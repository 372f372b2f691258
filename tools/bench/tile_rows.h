/* tile_rows: the number of rows from which matrix tiles are faster, from measured times. */
#ifndef MAS_TILE_ROWS_H
#define MAS_TILE_ROWS_H

/* rows[i]: rising numbers of rows, n of them. seconds[i]: of a call without tiles, with tiles.
 * Returns the least number from which tiles are faster at every larger one; 0: there is none. */
static inline int tile_rows_least(const int *rows, double (*seconds)[2], int n)
{
    int least = 0;
    for (int i = n - 1; i >= 0 && seconds[i][1] < seconds[i][0]; i--)
        least = rows[i];
    return least;
}

#endif
