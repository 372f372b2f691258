#include "kernel_row.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"

static const double noise = 1.15; /* p95 / p5 from which a row is called noisy */

static double gb_s(const struct op_case *c, const struct kernel_row *r)
{
    return c->bytes / r->cold.median * 1e-9;
}

bool kernel_row_noisy(const struct kernel_row *r)
{
    return r->cold.p95 > noise * r->cold.p5;
}

/* How the host's memory was read; "" where it was not. */
static const char *read_how(const struct kernel_sheet *k)
{
    return k->ceiling->n_read ? k->ceiling->reads[k->ceiling->best_read].name : "";
}

double kernel_row_share(const struct kernel_sheet *k, const struct op_case *c,
                        const struct kernel_row *r)
{
    return k->ceiling->read > 0 ? c->bytes / r->cold.median / k->ceiling->read : NAN;
}

/* Writes the rates of the memory into the head of a table. */
static void ceiling_text(const struct kernel_sheet *k, struct str *out)
{
    if (!(k->ceiling->read > 0))
        str_adds(out, "rates of the memory not measured");
    else
        str_addf(out,
                 "read %.1f GB/s%s%s%s, copy %.1f GB/s (read and written), measured in this run",
                 k->ceiling->read * 1e-9, *read_how(k) ? " (" : "", read_how(k),
                 *read_how(k) ? ")" : "", k->ceiling->copy * 1e-9);
}

static void print_head(const struct kernel_sheet *k)
{
    const struct ops *ops = k->ops;
    char when[32];
    bench_time(when);
    if (!strcmp(k->format, "csv")) {
        printf("op,case,kernel,us,us_p5,us_p95,warm_us,gb_s,gop_s,share,noisy,best,picked,error,"
               "failed\n");
    } else if (!strcmp(k->format, "json")) {
        struct str s = STR_INIT;
        str_addf(&s,
                 "{\"bench\": \"kernels\", \"format\": 1, \"commit\": \"%s\", \"time\": \"%s\", "
                 "\"backend\": \"%s\", "
                 "\"device\": ",
                 MAS_COMMIT, when, ops->name);
        str_add_json(&s, ops->dev->name, strlen(ops->dev->name));
        str_addf(&s,
                 ", \"threads\": %d, \"emulated\": %s,\n \"ceiling\": {\"copy_gb_s\": %.2f, "
                 "\"read_gb_s\": %.2f, "
                 "\"read_how\": \"%s\"",
                 k->threads, k->emulated ? "true" : "false", k->ceiling->copy * 1e-9,
                 k->ceiling->read * 1e-9, read_how(k));
        for (int i = 0; i < PEAK_COUNT; i++)
            str_addf(&s, ", \"%s\": %.1f", ceiling_peak_field[i], k->ceiling->peak[i] * 1e-9);
        str_adds(&s, "},\n \"rows\": [");
        fputs(s.s ? s.s : "", stdout);
        str_free(&s);
    } else {
        struct str rates = STR_INIT;
        ceiling_text(k, &rates);
        printf("%s; %d thread%s; %s; mas %s\n%s%s\n\n"
               "| %-9s | %-34s | %-11s | %10s | %23s | %10s | %7s | %8s | %6s | %6s | %-7s |\n"
               "| --------- | ---------------------------------- | ----------- | ---------: | "
               "----------------------: | "
               "---------: | ------: | -------: | -----: | -----: | ------- |\n",
               ops->dev->name, k->threads, k->threads == 1 ? "" : "s", when, MAS_COMMIT,
               rates.s ? rates.s : "",
               k->emulated
                   ? "; a GPU's kernels run by the host: these times say nothing about a GPU"
                   : "",
               "op", "case", "kernel", "us, cold", "p5 .. p95", "us, warm", "GB/s", "GOP/s",
               "% read", "error", "");
        str_free(&rates);
    }
}

static void print_md(const struct kernel_sheet *k, enum op op, const struct op_case *c,
                     const struct kernel_row *r)
{
    char spread[32], error[16] = "", mark[16], share[16] = "-";
    snprintf(spread, sizeof spread, "%.1f .. %.1f%s", r->cold.p5 * 1e6, r->cold.p95 * 1e6,
             kernel_row_noisy(r) ? " ~" : "");
    if (!isnan(r->error))
        snprintf(error, sizeof error, "%.1f %%", 100 * r->error);
    if (k->ceiling->read > 0)
        snprintf(share, sizeof share, "%.1f", 100 * kernel_row_share(k, c, r));
    snprintf(mark, sizeof mark, "%s%s", r->best ? "best" : "",
             r->picked ? r->best ? ", *" : "*" : "");
    printf("| %-9s | %-34s | %-11s | %10.1f | %23s | %10.1f | %7.2f | %8.1f | %6s | %6s | %-7s |\n",
           ops_op_name(op), c->name, r->kernel, r->cold.median * 1e6, spread, r->warm * 1e6,
           gb_s(c, r), c->flops / r->cold.median * 1e-9, share, error, mark);
}

/* A kernel without figures, on standard error, too. */
void kernel_row_failed(const struct kernel_sheet *k, enum op op, const struct op_case *c,
                       const struct kernel_row *r)
{
    struct str s = STR_INIT;
    const char *msg = r->failed.msg;
    fprintf(stderr, "mas: %s [%s]: %s failed: %s\n", ops_op_name(op), c->name, r->kernel, msg);
    if (!strcmp(k->format, "json")) {
        str_add_json(&s, msg, strlen(msg));
        printf("%s\n  {\"op\": \"%s\", \"case\": \"%s\", \"kernel\": \"%s\", \"failed\": %s}",
               k->n_row ? "," : "", ops_op_name(op), c->name, r->kernel, s.s ? s.s : "\"\"");
    } else if (!strcmp(k->format, "csv")) {
        for (; *msg; msg++)
            str_addf(&s, *msg == '"' ? "\"%c" : "%c", *msg);
        printf("%s,%s,%s,,,,,,,,,,,,\"%s\"\n", ops_op_name(op), c->name, r->kernel, s.s ? s.s : "");
    } else {
        printf("| %-9s | %-34s | %-11s | failed: %s |\n", ops_op_name(op), c->name, r->kernel, msg);
    }
    str_free(&s);
}

void kernel_row_print(struct kernel_sheet *k, enum op op, const struct op_case *c,
                      const struct kernel_row *r)
{
    const double gop = c->flops / r->cold.median * 1e-9;
    char error[24] = "null", share[24] = "null";
    if (!k->n_row)
        print_head(k);
    if (!isnan(r->error))
        snprintf(error, sizeof error, "%.4f", r->error);
    if (k->ceiling->read > 0)
        snprintf(share, sizeof share, "%.4f", kernel_row_share(k, c, r));
    if (r->failed.code)
        kernel_row_failed(k, op, c, r);
    else if (!strcmp(k->format, "csv"))
        printf("%s,%s,%s,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%s,%d,%d,%d,%s,\n", ops_op_name(op), c->name,
               r->kernel, r->cold.median * 1e6, r->cold.p5 * 1e6, r->cold.p95 * 1e6, r->warm * 1e6,
               gb_s(c, r), gop, k->ceiling->read > 0 ? share : "", kernel_row_noisy(r), r->best,
               r->picked, isnan(r->error) ? "" : error);
    else if (!strcmp(k->format, "json"))
        printf("%s\n  {\"op\": \"%s\", \"case\": \"%s\", \"kernel\": \"%s\", \"us\": %.3f, "
               "\"us_p5\": %.3f, \"us_p95\": %.3f, "
               "\"warm_us\": %.3f, \"bytes\": %.0f, \"ops\": %.0f, \"gb_s\": %.3f, \"gop_s\": "
               "%.3f, \"share\": %s, "
               "\"noisy\": %s, \"best\": %s, \"picked\": %s, \"error\": %s}",
               k->n_row ? "," : "", ops_op_name(op), c->name, r->kernel, r->cold.median * 1e6,
               r->cold.p5 * 1e6, r->cold.p95 * 1e6, r->warm * 1e6, c->bytes, c->flops, gb_s(c, r),
               gop, share, kernel_row_noisy(r) ? "true" : "false", r->best ? "true" : "false",
               r->picked ? "true" : "false", error);
    else
        print_md(k, op, c, r);
    k->n_row++;
}

void kernel_sheet_end(const struct kernel_sheet *k, const struct energy_span *spent)
{
    struct str s = STR_INIT;
    if (!strcmp(k->format, "json")) {
        energy_json(spent, 0, &s);
        printf("\n ]%s}\n", s.s);
    } else if (!strcmp(k->format, "md")) {
        energy_foot(spent, &s);
        printf("\n*: what a call takes. ~: p95 more than %.2f times p5. error: of what the oracle "
               "allows.\n%s",
               noise, s.s);
    }
    str_free(&s);
}
