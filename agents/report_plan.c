#include <math.h>

#include "report_part.h"
#include "stats_test.h"

static const double plan_points[] = {1, 2, 3, 4, 5, 7, 10, 15, 20};
static const size_t plan_questions[] = {100, 200, 300, 500, 1000, 1273, 2000, 5000, 10000};
enum {
    PLAN_POINTS = sizeof plan_points / sizeof plan_points[0],
    PLAN_QUESTIONS = sizeof plan_questions / sizeof plan_questions[0]
};

/* The exact power of that many questions. */
static double plan_power(double n, double discordant, double difference)
{
    return stats_power((size_t)ceil(n), discordant, difference, REPORT_ALPHA);
}

void report_plan(double discordant, struct str *out)
{
    str_addf(
        out,
        "Two runs on the same questions; %.1f %% of the questions tell them apart (one run alone "
        "is right).\nExact McNemar test at level 5 %%; questions for 80 %% power by the normal "
        "approximation.\n\n  difference  questions  exact power\n",
        100 * discordant);
    for (int i = 0; i < PLAN_POINTS; i++) {
        const double d = plan_points[i] / 100;
        const double n = stats_questions(discordant, d, REPORT_ALPHA, REPORT_POWER);
        if (isfinite(n))
            str_addf(out, "%5.0f points%11.0f%11.1f %%\n", plan_points[i], ceil(n),
                     100 * plan_power(n, discordant, d));
    }
    str_adds(out, "\n   questions  difference found with 80 % power\n");
    for (int i = 0; i < PLAN_QUESTIONS; i++) {
        const size_t n = plan_questions[i];
        str_addf(out, "%12zu", n);
        report_cell(100 * stats_detectable(n, discordant, REPORT_ALPHA, REPORT_POWER), 7, 1, out);
        str_adds(out, " points\n");
    }
}

void report_plan_json(double discordant, struct str *out)
{
    const char *comma = "";
    str_adds(out, "{\"discordant\": ");
    str_add_number(out, discordant, 10);
    report_number(out, "level", REPORT_ALPHA);
    report_number(out, "power", REPORT_POWER);
    str_adds(out, ",\n\"needed\": [");
    for (int i = 0; i < PLAN_POINTS; i++) {
        const double d = plan_points[i] / 100;
        const double n = stats_questions(discordant, d, REPORT_ALPHA, REPORT_POWER);
        if (!isfinite(n))
            continue;
        str_addf(out, "%s\n {\"difference\": ", comma);
        str_add_number(out, d, 10);
        report_number(out, "questions", ceil(n));
        report_number(out, "exact_power", plan_power(n, discordant, d));
        str_addc(out, '}');
        comma = ",";
    }
    str_adds(out, "],\n\"found\": [");
    for (int i = 0; i < PLAN_QUESTIONS; i++) {
        const size_t n = plan_questions[i];
        str_addf(out, "%s\n {\"questions\": %zu", i ? "," : "", n);
        report_number(out, "difference",
                      stats_detectable(n, discordant, REPORT_ALPHA, REPORT_POWER));
        str_addc(out, '}');
    }
    str_adds(out, "]}\n");
}
