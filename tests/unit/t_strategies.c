/* The strategies of several roles: calls, rounds, and texts that each role reads. */
#include <math.h>

#include "cases.h"
#include "grid.h"
#include "test.h"

/* ---- debate ---------------------------------------------------------------------------------- */

struct talk {             /* replies by round and debater, '-' = garbage */
    const char *round[4]; /* letters */
    char consensus;
    int agents;
};
static struct talk talk;
static char heard[16][1200]; /* user text by index of the call */

static void debate_reply(struct llm_call *c, void *user)
{
    const struct talk *t = user;
    const struct consult_call *k = c->user_data;
    bool last = !strcmp(k->role->name, "consensus");
    double sure = 0.7 - 0.02 * k->index;
    char letter = last ? t->consensus : t->round[k->index / t->agents][k->index % t->agents];
    if (!last)
        snprintf(heard[k->index], sizeof heard[0], "%s", c->user);
    if (letter == '-')
        str_adds(&c->reply, "no");
    else if (last)
        str_addf(&c->reply,
                 "{\"ordered_differential\": [\"x\"], \"justification\": \"chair\", "
                 "\"final_answer\": \"%c\", \"warnings\": []}",
                 letter);
    else
        str_addf(&c->reply, "{\"reasoning\": \"point %d\", \"final_answer\": \"%c\"}", k->index,
                 letter);
    for (int i = 0; i < 4; i++)
        c->choice_lp[i] = log('A' + i == letter ? sure : (1 - sure) / 3);
    c->has_choice = c->choice;
}

static void debate_of(int agents, const char *r1, const char *r2, const char *r3, char consensus)
{
    char set[64];
    talk = (struct talk){.round = {r1, r2, r3}, .consensus = consensus, .agents = agents};
    snprintf(set, sizeof set, "debate.agents=%d", agents);
    cases_scripted((const char *[]){"strategy=debate", set, "debate.rounds=3", NULL}, debate_reply,
                   &talk, got_look);
}

static void a_debate_stops_when_all_agree(void **state)
{
    (void)state;
    debate_of(2, "BB", NULL, NULL, '-');
    assert_int_equal(got.calls, 2);
    assert_int_equal(got.predicted, 1);
    assert_true(got.has_p && fabs(got.p[1] - (0.7 + 0.68) / 2) < 1e-12);
    assert_non_null(strstr(got.facts, "\"rounds\": 1, \"agreed\": true, \"changed\": 0, "
                                      "\"positions_by_round\": [[\"B\", \"B\"]]"));
    debate_of(2, "AC", "CC", NULL, '-');
    assert_int_equal(got.calls, 4);
    assert_int_equal(got.predicted, 2);
    assert_non_null(strstr(got.facts, "\"agreed\": true, \"changed\": 1"));
    assert_string_equal(got.justification, "point 2");
}

static void a_debate_without_agreement_is_decided_by_one_more_call(void **state)
{
    (void)state;
    debate_of(3, "ABA", "BAA", "BBA", 'D');
    assert_int_equal(got.calls, 10);
    assert_int_equal(got.predicted, 3);
    assert_true(fabs(got.p[3] - 0.7) < 1e-12);
    assert_non_null(strstr(got.facts, "\"rounds\": 3, \"agreed\": false, \"changed\": 3"));
    assert_string_equal(got.justification, "chair");
    debate_of(2, "AB", "AB", "AB", '-');
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_non_null(strstr(got.why, "consensus: "));
}

static void a_debater_that_cannot_be_read_keeps_its_position(void **state)
{
    (void)state;
    debate_of(2, "BA", "-B", NULL, '-');
    assert_int_equal(got.calls, 4);
    assert_int_equal(got.predicted, 1);
    assert_non_null(strstr(got.notes, "debater 3 gave nothing that can be used"));
    assert_non_null(strstr(got.facts, "[[\"B\", \"A\"], [null, \"B\"]]"));
    debate_of(2, "-B", "BB", NULL, '-'); /* one position is no agreement */
    assert_int_equal(got.calls, 4);
    assert_non_null(strstr(got.facts, "\"changed\": 0"));
    debate_of(2, "--", NULL, NULL, '-');
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_int_equal(got.calls, 2);
}

/* Debaters of a round share all but the last line; a later round reads the earlier ones. */
static void a_round_shares_its_beginning_and_reads_the_rounds_before(void **state)
{
    (void)state;
    debate_of(2, "AB", "AB", "BB", '-');
    for (int r = 0; r < 3; r++) {
        const char *a = heard[2 * r], *b = heard[2 * r + 1];
        size_t same = 0;
        while (a[same] && a[same] == b[same])
            same++;
        assert_string_equal(a + same, r == 0   ? "1, in round 1."
                                      : r == 1 ? "1, in round 2."
                                               : "1, in round 3.");
    }
    assert_non_null(strstr(heard[0], "Nobody has spoken yet."));
    assert_null(strstr(heard[0], "point"));
    assert_non_null(strstr(heard[3], "Round 1\nPhysician 1 (answer A): point 0\n"
                                     "Physician 2 (answer B): point 1\n"));
    assert_null(strstr(heard[3], "point 2"));
    assert_non_null(strstr(heard[4], "Round 2\nPhysician 1 (answer A): point 2\n"));
}

/* ---- pipeline -------------------------------------------------------------------------------- */

struct stage { /* a reply of a role; NULL = what the role before it says */
    const char *role, *reply;
};

/* Replies by role, in the order of the list for roles asked several times. Keeps the prompts. */
static void stage_reply(struct llm_call *c, void *user)
{
    const struct stage *s = user;
    const struct consult_call *k = c->user_data;
    snprintf(heard[k->number], sizeof heard[0], "%s", c->user);
    while (s->role && strcmp(s->role, k->role->name) != 0)
        s++;
    str_adds(&c->reply, s->role ? s->reply : "no such role");
}

#define DECISION(letter)                                                                           \
    "{\"ordered_differential\": [\"x\"], \"justification\": \"just so\", \"final_answer\": "       \
    "\"" letter "\", \"warnings\": []}"

static void each_stage_of_a_pipeline_reads_those_before(void **state)
{
    (void)state;
    struct stage s[] = {{"planner", "{\"note\": \"look twice\"}"},
                        {"internist", "{\"reasoning\": \"I think\", \"final_answer\": \"B\"}"},
                        {"reviewer", "{\"comment\": \"not so\", \"vote\": \"disagree\"}"},
                        {"aggregator", DECISION("C")},
                        {NULL, NULL}};
    static const char *const said[] = {"Planner's note: look twice", "Internist's answer: B",
                                       "Internist's reasons: I think",
                                       "Reviewer (disagree): not so"};
    static const int know[] = {0, 1, 3, 4};
    cases_scripted((const char *[]){"strategy=pipeline", NULL}, stage_reply, s, got_look);
    assert_int_equal(got.calls, 4);
    assert_int_equal(got.predicted, 2);
    assert_non_null(strstr(got.facts, "\"internist_answer\": \"B\", \"reviewer_agrees\": false, "
                                      "\"changed\": 1"));
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            assert_int_equal(strstr(heard[i], said[k]) != NULL, k < know[i]);
    for (int i = 1; i < 4; i++) { /* a call begins with all that the call before it had read */
        size_t same = 0;
        while (heard[i][same] && heard[i][same] == heard[i - 1][same])
            same++;
        assert_true(same >= (size_t)(strstr(heard[i - 1], "Your role") - heard[i - 1]));
    }
    for (int i = 0; i < 4; i++) { /* no stage is left out */
        const char *was = s[i].reply;
        s[i].reply = "{\"final_answer\": \"A\"}";
        cases_scripted((const char *[]){"strategy=pipeline", NULL}, stage_reply, s, got_look);
        s[i].reply = was;
        assert_int_equal(got.state, CONSULT_UNPARSED);
        assert_int_equal(got.calls, i + 1);
        assert_int_equal(strncmp(got.why, s[i].role, strlen(s[i].role)), 0);
    }
}

/* ---- review ---------------------------------------------------------------------------------- */

static void review_look(const struct consult *c, const struct result *r)
{
    char draft[40];
    assert_int_equal(r->state, CONSULT_ANSWERED);
    assert_int_equal(r->calls, 13);
    const struct consult_call *first = cases_call(c, "aggregator", 0),
                              *last = cases_call(c, "aggregator", 1);
    assert_ptr_equal(last, c->last);
    assert_int_equal(r->predicted, cases_letter(c, last));
    cases_share_beginning(c, "reviewer", 0, 5);
    for (int i = 0; i < 5; i++) {
        const struct consult_call *k = cases_call(c, "reviewer", i);
        assert_int_equal(k->specialty, c->selected[i]);
        assert_non_null(strstr(last->llm.user, c->env->catalog->entry[k->specialty].name));
    }
    got_look(c, r);
    snprintf(draft, sizeof draft, "\"draft\": \"%c\"", 'A' + cases_letter(c, first));
    assert_non_null(strstr(got.facts, draft));
    assert_non_null(strstr(got.facts, cases_letter(c, first) == cases_letter(c, last)
                                          ? "\"changed\": 0"
                                          : "\"changed\": 1"));
}

static void a_draft_goes_back_to_the_specialists_once(void **state)
{
    (void)state;
    cases((const char *[]){"strategy=review", NULL}, NULL, 12, review_look);
    struct script mood = {.mood = SCRIPT_GARBAGE, .only_role = "reviewer", .only_index = 2};
    cases((const char *[]){"strategy=review", NULL}, &mood, 1, got_look);
    assert_int_equal(got.state, CONSULT_ANSWERED);
    assert_non_null(strstr(got.facts, "\"reviews_used\": 4"));
    assert_non_null(strstr(got.notes, "gave nothing that can be used"));
    mood.only_index = -1;
    cases((const char *[]){"strategy=review", NULL}, &mood, 1, got_look);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_non_null(strstr(got.why, "no review could be used"));
    mood = (struct script){.mood = SCRIPT_CUT, .only_role = "aggregator", .only_index = 1};
    cases((const char *[]){"strategy=review", NULL}, &mood, 1, got_look);
    assert_int_equal(got.state, CONSULT_UNPARSED); /* the draft is no answer */
    assert_int_equal(got.predicted, -1);
    assert_false(got.has_p);
}

/* ---- medagents ------------------------------------------------------------------------------- */

struct ballots {          /* by round: the voters' votes */
    const char *round[3]; /* 'a' agree, 'd' disagree, '-' garbage */
    int bad_analyst;      /* index, -1 = none, 99 = all */
};

static void med_reply(struct llm_call *c, void *user)
{
    const struct ballots *b = user;
    const struct consult_call *k = c->user_data;
    const char *role = k->role->name;
    if (!strcmp(role, "recruiter"))
        str_addf(&c->reply, "{\"rationale\": \"r\", \"specialties\": [%s]}",
                 k->index ? "\"ent\", \"urology\"" : "\"cardiology\", \"ent\"");
    else if (!strcmp(role, "analyst") && b->bad_analyst != k->index && b->bad_analyst != 99)
        str_addf(&c->reply, "{\"note\": \"analysis %d\"}", k->index);
    else if (!strcmp(role, "summarizer"))
        str_addf(&c->reply, "{\"note\": \"report %d\"}", k->index);
    else if (!strcmp(role, "voter") && b->round[k->index / 3][k->index % 3] != '-')
        str_addf(&c->reply, "{\"comment\": \"comment %d\", \"vote\": \"%s\"}", k->index,
                 b->round[k->index / 3][k->index % 3] == 'a' ? "agree" : "disagree");
    else if (!strcmp(role, "aggregator"))
        str_adds(&c->reply, DECISION("D"));
}

static void med_look(const struct consult *c, const struct result *r)
{
    got_look(c, r);
    for (const struct consult_call *k = c->first; k; k = k->next) {
        bool reads = (!strcmp(k->role->name, "analyst") && k->index > 1) ||
                     (!strcmp(k->role->name, "summarizer") && !k->index);
        bool said = cases_call(c, "analyst", 1) && cases_call(c, "analyst", 1)->parsed;
        assert_int_equal(strstr(k->llm.user, ": analysis 1") != NULL, reads && said);
    }
    assert_int_equal(r->n_selected, 3);
    assert_string_equal(r->selected[0], "cardiology");
    assert_string_equal(r->selected[1], "ent");
    assert_string_equal(r->selected[2], "urology");
    const struct consult_call *last = cases_call(c, "aggregator", 0);
    if (last) { /* it reads the last report */
        int n = 0;
        char want[40];
        while (cases_call(c, "summarizer", n))
            n++;
        snprintf(want, sizeof want, "Report:\nreport %d", n - 1);
        assert_non_null(strstr(last->llm.user, want));
        for (int i = 1; i < n; i++) {
            snprintf(want, sizeof want, "comment %d", 3 * i - 3);
            assert_non_null(strstr(cases_call(c, "summarizer", i)->llm.user, want));
        }
        cases_share_beginning(c, "voter", 3 * n - 3, 3);
        cases_share_beginning(c, "analyst", 0, 2);
        cases_share_beginning(c, "analyst", 2, 2);
    }
}

static void consult_of(const char *r1, const char *r2, const char *r3, int bad)
{
    struct ballots b = {.round = {r1, r2, r3}, .bad_analyst = bad};
    cases_scripted((const char *[]){"strategy=medagents", "medagents.question_experts=2",
                                    "medagents.option_experts=2", "medagents.rounds=3", NULL},
                   med_reply, &b, med_look);
}

static void experts_vote_until_they_agree_or_the_votes_are_over(void **state)
{
    (void)state;
    consult_of("aaa", NULL, NULL, -1);
    assert_int_equal(got.state, CONSULT_ANSWERED);
    assert_int_equal(got.predicted, 3);
    assert_int_equal(got.calls, 2 + 2 + 2 + 1 + 3 + 1);
    assert_non_null(strstr(got.facts, "\"rounds\": 1, \"agreed\": true, \"votes_by_round\": "
                                      "[{\"agree\": 3, \"disagree\": 0, \"unused\": 0}]"));
    consult_of("ada", "aa-", NULL, -1);
    assert_int_equal(got.calls, 2 + 2 + 2 + 1 + 3 + 1 + 3 + 1);
    assert_non_null(strstr(got.facts, "\"rounds\": 2, \"agreed\": true"));
    assert_non_null(strstr(got.notes, "voter urology gave nothing that can be used"));
    consult_of("ddd", "ddd", "daa", -1);
    assert_int_equal(got.calls, 2 + 2 + 2 + 3 + 9 + 1);
    assert_non_null(strstr(got.facts, "\"rounds\": 3, \"agreed\": false"));
    assert_int_equal(got.state, CONSULT_ANSWERED);
}

static void experts_that_cannot_be_read_are_left_out_and_none_is_no_answer(void **state)
{
    (void)state;
    consult_of("aaa", NULL, NULL, 0);
    assert_int_equal(got.state, CONSULT_ANSWERED);
    assert_non_null(strstr(got.notes, "analyst cardiology gave nothing that can be used"));
    consult_of("aaa", NULL, NULL, 99);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_non_null(strstr(got.why, "no expert's analysis could be used"));
    consult_of("---", NULL, NULL, -1);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_non_null(strstr(got.why, "no expert's vote could be used"));
}

/* ---- mdagents -------------------------------------------------------------------------------- */

struct ward {
    const char *level;    /* NULL = garbage */
    const char *round[3]; /* positions of the panel, '-' = garbage */
    int silent_team;      /* no member of it can be read; -1 = none, 99 = all */
};

static void md_reply(struct llm_call *c, void *user)
{
    static const char *const ids[] = {"cardiology", "ent",      "urology",
                                      "neurology",  "oncology", "psychiatry"};
    const struct ward *w = user;
    const struct consult_call *k = c->user_data;
    const char *role = k->role->name;
    bool note = c->schema && strstr(llm_script_schema(c->schema), "\"note\"");
    if (!strcmp(role, "assessor") && w->level)
        str_addf(&c->reply, "{\"rationale\": \"so\", \"complexity\": \"%s\"}", w->level);
    if (!strcmp(role, "clinician"))
        str_adds(&c->reply, "{\"reasoning\": \"alone\", \"final_answer\": \"C\"}");
    if (!strcmp(role, "recruiter")) {
        int n = strstr(c->user, "teams") ? 4 : 3;
        str_adds(&c->reply, "{\"rationale\": \"r\", \"specialties\": [");
        for (int i = 0; i < n; i++)
            str_addf(&c->reply, "%s\"%s\"", i ? ", " : "", ids[i]);
        str_adds(&c->reply, "]}");
    }
    if (!strcmp(role, "chair"))
        str_addf(&c->reply, "{\"note\": \"report of %d\"}", k->index + 1);
    if (!strcmp(role, "aggregator"))
        str_adds(&c->reply, DECISION("D"));
    if (strcmp(role, "expert") != 0)
        return;
    if (note && k->index / 2 != w->silent_team && w->silent_team != 99)
        str_addf(&c->reply, "{\"note\": \"note %d\"}", k->index);
    if (!note && w->round[k->index / 3][k->index % 3] != '-')
        str_addf(&c->reply, "{\"reasoning\": \"point %d\", \"final_answer\": \"%c\"}", k->index,
                 w->round[k->index / 3][k->index % 3]);
}

static void ward_look(const struct consult *c, const struct result *r)
{
    got_look(c, r);
    const struct consult_call *last = cases_call(c, "aggregator", 0),
                              *chair = cases_call(c, "chair", 1);
    if (chair) { /* the second team reads the report of the first, and its own notes */
        bool first = cases_call(c, "chair", 0) != NULL;
        assert_int_equal(strstr(chair->llm.user, "report of 1") != NULL, first);
        assert_non_null(strstr(chair->llm.user, "note 3"));
        assert_null(strstr(chair->llm.user, "note 1"));
        assert_int_equal(strstr(cases_call(c, "expert", 2)->llm.user, "report of 1") != NULL,
                         first);
        assert_null(strstr(cases_call(c, "expert", 0)->llm.user, "report of 1"));
        cases_share_beginning(c, "expert", 0, 2);
        cases_share_beginning(c, "expert", 2, 2);
        assert_non_null(strstr(last->llm.user, "report of 2"));
    }
    if (cases_call(c, "expert", 3) && !chair && last) {
        assert_non_null(strstr(cases_call(c, "expert", 3)->llm.user, "Positions after round 1\n"));
        cases_share_beginning(c, "expert", 3, 3);
        assert_non_null(strstr(last->llm.user, "Discussion of the panel:\nPositions after round"));
    }
}

static void ward_of(const char *how, const struct ward *w)
{
    struct ward copy = *w;
    cases_scripted((const char *[]){"strategy=mdagents", "mdagents.experts=3", "mdagents.rounds=3",
                                    "mdagents.teams=2", "mdagents.members=2", how, NULL},
                   md_reply, &copy, ward_look);
}

static void the_complexity_says_how_many_work(void **state)
{
    (void)state;
    ward_of(NULL, &(struct ward){.level = "low", .silent_team = -1});
    assert_int_equal(got.calls, 2);
    assert_int_equal(got.predicted, 2);
    assert_non_null(strstr(got.facts, "\"complexity\": \"low\""));
    ward_of(NULL, &(struct ward){.level = "moderate", .round = {"BBB"}, .silent_team = -1});
    assert_int_equal(got.calls, 1 + 1 + 3 + 1);
    assert_int_equal(got.predicted, 3); /* the aggregator decides */
    assert_non_null(strstr(got.facts, "\"complexity\": \"moderate\", \"rounds\": 1, "
                                      "\"agreed\": true, \"changed\": 0"));
    ward_of(NULL,
            &(struct ward){.level = "moderate", .round = {"ABC", "AB-", "AAB"}, .silent_team = -1});
    assert_int_equal(got.calls, 1 + 1 + 9 + 1);
    assert_non_null(strstr(got.facts, "\"rounds\": 3, \"agreed\": false, \"changed\": 2"));
    assert_non_null(strstr(got.notes, "expert urology gave nothing that can be used"));
    ward_of(NULL, &(struct ward){.level = "high", .silent_team = -1});
    assert_int_equal(got.calls, 1 + 1 + 2 * 3 + 1);
    assert_non_null(strstr(got.facts, "\"complexity\": \"high\", \"teams\": 2"));
    ward_of(NULL, &(struct ward){.silent_team = -1});
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_int_equal(got.calls, 1);
}

static void a_given_complexity_asks_no_assessor(void **state)
{
    (void)state;
    ward_of("mdagents.complexity=low", &(struct ward){.silent_team = -1});
    assert_int_equal(got.calls, 1);
    ward_of("mdagents.complexity=high", &(struct ward){.silent_team = -1});
    assert_int_equal(got.calls, 1 + 2 * 3 + 1);
    ward_of("mdagents.complexity=moderate", &(struct ward){.round = {"---", NULL, NULL}});
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_non_null(strstr(got.why, "no expert's reply could be used"));
}

static void a_team_without_notes_gives_no_report(void **state)
{
    (void)state;
    ward_of("mdagents.complexity=high", &(struct ward){.silent_team = 0});
    assert_int_equal(got.state, CONSULT_ANSWERED);
    assert_int_equal(got.calls, 1 + 2 + 3 + 1);
    assert_non_null(strstr(got.notes, "team 1 gives no report"));
    ward_of("mdagents.complexity=high", &(struct ward){.silent_team = 99});
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_non_null(strstr(got.why, "no team's report could be used"));
}

/* More experts than the catalogue has are refused when the strategy opens. */
static void more_experts_than_specialties_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *sets[3], *text;
    } rows[] = {{{"strategy=mdagents", "mdagents.experts=9"}, "mdagents.experts is 9"},
                {{"strategy=mdagents", "mdagents.members=5"}, "mdagents.teams is 3 of 5 members"},
                {{"strategy=medagents", "medagents.option_experts=7"}, "option_experts 7"}};
    for (int i = 0; i < 3; i++) {
        struct bench b;
        struct err e;
        bench_open(&b, 5, NULL);
        strategy_close(&b.env);
        b.catalog.n = 6;
        for (int k = 0; k < 2; k++)
            ok(config_set(&b.config, rows[i].sets[k], &e));
        if (i)
            ok(config_set(&b.config, "mdagents.experts=2", &e));
        fails(strategy_open(&b.env, &e), ERR_CONFIG, rows[i].text);
        b.catalog.n = 28;
        bench_close(&b);
    }
}

/* Grids run a strategy once for all values of a key that it does not read. */
static void review_reads_the_settings_of_its_panel(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, 5, (const char *[]){"strategy=review", NULL});
    assert_true(grid_reads(&b.config, "planner.top_k", false));
    assert_true(grid_reads(&b.config, "planner.selection", false));
    assert_false(grid_reads(&b.config, "debate.agents", false));
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(review_reads_the_settings_of_its_panel),
        cmocka_unit_test(a_debate_stops_when_all_agree),
        cmocka_unit_test(a_debate_without_agreement_is_decided_by_one_more_call),
        cmocka_unit_test(a_debater_that_cannot_be_read_keeps_its_position),
        cmocka_unit_test(a_round_shares_its_beginning_and_reads_the_rounds_before),
        cmocka_unit_test(each_stage_of_a_pipeline_reads_those_before),
        cmocka_unit_test(a_draft_goes_back_to_the_specialists_once),
        cmocka_unit_test(experts_vote_until_they_agree_or_the_votes_are_over),
        cmocka_unit_test(experts_that_cannot_be_read_are_left_out_and_none_is_no_answer),
        cmocka_unit_test(the_complexity_says_how_many_work),
        cmocka_unit_test(a_given_complexity_asks_no_assessor),
        cmocka_unit_test(a_team_without_notes_gives_no_report),
        cmocka_unit_test(more_experts_than_specialties_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
