/* The strategies one by one: calls, rounds, votes, and probabilities of the letters. */
#include <jansson.h>
#include <math.h>

#include "script.h"
#include "test.h"

/* Called with each case before it is freed; NULL = no checks. */
static void (*look)(const struct consult *c, const struct result *r);

static void finished(const struct consult *c, const struct result *r, void *user)
{
    (void)user;
    if (look)
        look(c, r);
}

/* Runs all questions of m; each case is shown to see (NULL = to nothing). */
static void run_cases(struct bench *b, const struct medqa *m,
                      void (*see)(const struct consult *c, const struct result *r))
{
    char dir[256];
    struct err e;
    struct trace *t = NULL;
    struct trace_options to = {.dir = bench_mkdir(dir), .identity = "{}", .about = "{}", .data = m};
    ok(trace_open(&to, &t, &e));
    struct run_options o = {.env = &b->env,
                            .question = m->question,
                            .n = m->n,
                            .trace = t,
                            .clock = bench_clock,
                            .finished = finished};
    look = see;
    ok(run_questions(&o, NULL, &e));
    look = NULL;
    trace_close(t);
    test_rmdir(dir);
}

/* n questions under these settings and this mood. */
static void cases(const char *const *sets, const struct script *mood, int n,
                  void (*see)(const struct consult *c, const struct result *r))
{
    struct bench b;
    struct medqa m = {.n = 0};
    bench_open(&b, 5, sets);
    if (mood)
        b.script = *mood;
    b.env.shuffle = true;
    bench_questions(&m, n);
    run_cases(&b, &m, see);
    medqa_free(&m);
    bench_close(&b);
}

/* ---- scripts --------------------------------------------------------------------------------- */

/* One question through a script. */
static void one_scripted(const char *const *sets, llm_script_fn fn, void *user,
                         void (*see)(const struct consult *c, const struct result *r))
{
    struct bench b;
    struct medqa m = {.n = 0};
    struct err e;
    bench_open(&b, 5, sets);
    strategy_close(&b.env);
    llm_close(b.llm);
    ok(llm_script_open(fn, user, 3, &b.llm, &e));
    b.env.llm = b.llm;
    ok(strategy_open(&b.env, &e));
    bench_questions(&m, 1);
    run_cases(&b, &m, see);
    medqa_free(&m);
    bench_close(&b);
}

/* ---- self-consistency ------------------------------------------------------------------------ */

struct ballot {            /* by index of the sample */
    const char *letters;   /* '-' = garbage */
    const double (*lp)[4]; /* NULL = no probabilities of letters */
    const double *mean_lp; /* of the replies; NULL = unknown */
};
static struct ballot ballot;

static void sc_reply(struct llm_call *c, void *user)
{
    const struct ballot *b = user;
    int i = ((const struct consult_call *)c->user_data)->index;
    c->n_new = 10;
    if (b->mean_lp)
        c->mean_lp = b->mean_lp[i];
    if (b->letters[i] == '-') {
        str_adds(&c->reply, "C");
        return;
    }
    str_addf(&c->reply, "{\"reasoning\": \"because %d\", \"final_answer\": \"%c\"}", i,
             b->letters[i]);
    c->has_choice = b->lp != NULL;
    for (int k = 0; k < 4 && b->lp; k++)
        c->choice_lp[k] = log(b->lp[i][k]);
}

static struct {
    enum consult_state state;
    int predicted, calls;
    double p[4];
    bool has_p;
    char why[200], facts[300], notes[600], justification[64];
} got;

static void sc_page(void *user, const char *head, const char *text)
{
    (void)user;
    if (!strncmp(head, "because", 7))
        snprintf(got.justification, sizeof got.justification, "%s", text);
}

static void no_page(void *user, const char *text)
{
    (void)user;
    (void)text;
}

static void got_look(const struct consult *c, const struct result *r)
{
    struct str facts = STR_INIT;
    const struct strategy_page page = {no_page, sc_page, no_page, NULL};
    memset(&got, 0, sizeof got);
    got.state = r->state;
    got.predicted = r->predicted;
    got.calls = r->calls;
    got.has_p = r->has_p;
    memcpy(got.p, r->p_option, sizeof got.p);
    snprintf(got.why, sizeof got.why, "%s", r->why);
    snprintf(got.notes, sizeof got.notes, "%s", c->warnings.s);
    c->env->strategy->show(c, STRATEGY_WORK, &page);
    c->env->strategy->show(c, STRATEGY_GROUNDS, &page);
    c->env->strategy->facts(c, STRATEGY_TRACE, &facts);
    snprintf(got.facts, sizeof got.facts, "%s", facts.s ? facts.s : "");
    str_free(&facts);
}

static void vote(const char *letters, const double (*lp)[4], const double *mean_lp, const char *how)
{
    char set[64];
    ballot = (struct ballot){letters, lp, mean_lp};
    snprintf(set, sizeof set, "sc.samples=%zu", strlen(letters));
    one_scripted((const char *[]){"strategy=sc", set, how, NULL}, sc_reply, &ballot, got_look);
    assert_int_equal(got.calls, (int)strlen(letters));
}

static void the_most_frequent_answer_wins_and_shares_are_its_probabilities(void **state)
{
    (void)state;
    vote("BCBDB", NULL, NULL, NULL);
    assert_int_equal(got.state, CONSULT_ANSWERED);
    assert_int_equal(got.predicted, 1);
    assert_true(got.has_p && got.p[0] == 0 && got.p[1] == 0.6 && got.p[2] == 0.2 &&
                got.p[3] == 0.2);
    assert_non_null(strstr(got.facts, "\"votes\": {\"B\": 3, \"C\": 1, \"D\": 1}, \"tie\": false"));
    assert_string_equal(got.justification, "because 0");
}

static void a_sample_that_cannot_be_read_is_no_vote(void **state)
{
    (void)state;
    vote("--A-", NULL, NULL, NULL);
    assert_int_equal(got.state, CONSULT_ANSWERED);
    assert_int_equal(got.predicted, 0);
    assert_true(got.p[0] == 1);
    assert_non_null(strstr(got.notes, "sample 1 is no vote: "));
    assert_non_null(strstr(got.notes, "sample 4 is no vote: "));
    assert_null(strstr(got.notes, "sample 3"));
    vote("---", NULL, NULL, NULL);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_int_equal(got.predicted, -1);
    assert_non_null(strstr(got.why, "none of 3 samples can be used: "));
    assert_false(got.has_p);
}

static void log_probabilities_decide_a_tie_or_nothing_does(void **state)
{
    (void)state;
    static const double lp[4][4] = {
        {0.6, 0.2, 0.1, 0.1}, {0.1, 0.6, 0.2, 0.1}, {0.5, 0.3, 0.1, 0.1}, {0.3, 0.4, 0.2, 0.1}};
    static const double even[2][4] = {{0.6, 0.2, 0.1, 0.1}, {0.2, 0.6, 0.1, 0.1}};
    static const double mean[4] = {-2, -1, -2, -1.5};
    static const double unknown[2] = {-1, (double)NAN};
    vote("ABAB", lp, mean, NULL); /* log-sums: A of 0.009, B of 0.0144 */
    assert_int_equal(got.predicted, 1);
    assert_non_null(strstr(got.facts, "\"tie\": true"));
    assert_true(got.p[0] == 0.5 && got.p[1] == 0.5);
    assert_string_equal(got.justification, "because 1");
    vote("ABA-B", NULL, (const double[]){-2, -1, -2, -1, -1.5}, NULL); /* -40 against -25 */
    assert_int_equal(got.predicted, 1);
    vote("BAAB", NULL, mean, NULL); /* -35 against -30 */
    assert_int_equal(got.predicted, 0);
    vote("AB", even, NULL, NULL);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_non_null(strstr(got.why, "2 answers of 2 votes share the lead"));
    vote("AB", NULL, NULL, NULL);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    vote("AB", NULL, unknown, NULL);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    vote("BA", NULL, unknown, NULL);
    assert_int_equal(got.state, CONSULT_UNPARSED);
}

static void a_confident_minority_can_win_by_weight(void **state)
{
    (void)state;
    static const double lp[3][4] = {
        {0.4, 0.2, 0.2, 0.2}, {0.025, 0.95, 0.0125, 0.0125}, {0.4, 0.3, 0.2, 0.1}};
    vote("ABA", lp, NULL, "sc.vote=confidence");
    assert_int_equal(got.predicted, 1);
    assert_true(fabs(got.p[0] - 0.8 / 1.75) < 1e-12 && fabs(got.p[1] - 0.95 / 1.75) < 1e-12);
    assert_non_null(strstr(got.facts, "\"votes\": {\"A\": 2, \"B\": 1}"));
    vote("ABA", NULL, NULL, "sc.vote=confidence");
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_non_null(strstr(got.notes, "sample 2 is no vote: its letter has no probability"));
}

static void samples_at_temperature_0_are_refused(void **state)
{
    (void)state;
    struct bench b;
    struct err e;
    bench_open(&b, 5, (const char *[]){"strategy=sc", NULL});
    strategy_close(&b.env);
    ok(config_set(&b.config, "temperature=0", &e));
    fails(strategy_open(&b.env, &e), ERR_CONFIG, "sc draws 5 samples at temperature 0");
    ok(config_set(&b.config, "sc.samples=1", &e));
    ok(strategy_open(&b.env, &e));
    bench_close(&b);
}

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
    one_scripted((const char *[]){"strategy=debate", set, "debate.rounds=3", NULL}, debate_reply,
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
    one_scripted((const char *[]){"strategy=pipeline", NULL}, stage_reply, s, got_look);
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
        one_scripted((const char *[]){"strategy=pipeline", NULL}, stage_reply, s, got_look);
        s[i].reply = was;
        assert_int_equal(got.state, CONSULT_UNPARSED);
        assert_int_equal(got.calls, i + 1);
        assert_int_equal(strncmp(got.why, s[i].role, strlen(s[i].role)), 0);
    }
}

/* ---- review ---------------------------------------------------------------------------------- */

/* The letter of a reply in the file's order; -1 = none. */
static int letter_of(const struct consult *c, const struct consult_call *k)
{
    static const char key[] = "\"final_answer\": \"";
    const char *at = strstr(k->llm.reply.s, key);
    return at ? c->shown[at[sizeof key - 1] - 'A'] : -1;
}

static const struct consult_call *call_at(const struct consult *c, const char *role, int index)
{
    const struct consult_call *k = c->first;
    while (k && (strcmp(k->role->name, role) != 0 || k->index != index))
        k = k->next;
    return k;
}

/* The calls of a role share all of their prompts but the last paragraph. */
static void share_beginning(const struct consult *c, const char *role, int first, int n)
{
    const struct consult_call *k = call_at(c, role, first);
    assert_non_null(k);
    const char *user = k->llm.user, *last = user;
    for (const char *p = user; (p = strstr(p, "\n\n")); p++)
        last = p;
    for (int i = 1; i < n; i++) {
        const struct consult_call *other = call_at(c, role, first + i);
        assert_memory_equal(other->llm.user, user, (size_t)(last - user));
        assert_ptr_equal(other->llm.system, k->llm.system);
    }
}

static void review_look(const struct consult *c, const struct result *r)
{
    char draft[40];
    assert_int_equal(r->state, CONSULT_ANSWERED);
    assert_int_equal(r->calls, 13);
    const struct consult_call *first = call_at(c, "aggregator", 0),
                              *last = call_at(c, "aggregator", 1);
    assert_ptr_equal(last, c->last);
    assert_int_equal(r->predicted, letter_of(c, last));
    share_beginning(c, "reviewer", 0, 5);
    for (int i = 0; i < 5; i++) {
        const struct consult_call *k = call_at(c, "reviewer", i);
        assert_int_equal(k->specialty, c->selected[i]);
        assert_non_null(strstr(last->llm.user, c->env->catalog->entry[k->specialty].name));
    }
    got_look(c, r);
    snprintf(draft, sizeof draft, "\"draft\": \"%c\"", 'A' + letter_of(c, first));
    assert_non_null(strstr(got.facts, draft));
    assert_non_null(strstr(got.facts, letter_of(c, first) == letter_of(c, last)
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
        bool said = call_at(c, "analyst", 1) && call_at(c, "analyst", 1)->parsed;
        assert_int_equal(strstr(k->llm.user, ": analysis 1") != NULL, reads && said);
    }
    assert_int_equal(r->n_selected, 3);
    assert_string_equal(r->selected[0], "cardiology");
    assert_string_equal(r->selected[1], "ent");
    assert_string_equal(r->selected[2], "urology");
    const struct consult_call *last = call_at(c, "aggregator", 0);
    if (last) { /* it reads the last report */
        int n = 0;
        char want[40];
        while (call_at(c, "summarizer", n))
            n++;
        snprintf(want, sizeof want, "Report:\nreport %d", n - 1);
        assert_non_null(strstr(last->llm.user, want));
        for (int i = 1; i < n; i++) {
            snprintf(want, sizeof want, "comment %d", 3 * i - 3);
            assert_non_null(strstr(call_at(c, "summarizer", i)->llm.user, want));
        }
        share_beginning(c, "voter", 3 * n - 3, 3);
        share_beginning(c, "analyst", 0, 2);
        share_beginning(c, "analyst", 2, 2);
    }
}

static void consult_of(const char *r1, const char *r2, const char *r3, int bad)
{
    struct ballots b = {.round = {r1, r2, r3}, .bad_analyst = bad};
    one_scripted((const char *[]){"strategy=medagents", "medagents.question_experts=2",
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

/* ---- probabilities --------------------------------------------------------------------------- */

static int with_p;

static void p_look(const struct consult *c, const struct result *r)
{
    double sum = 0;
    assert_int_equal(r->state, CONSULT_ANSWERED);
    assert_int_equal(r->has_p, c->has_p);
    for (int i = 0; i < r->n_options && r->has_p; i++) {
        assert_true(r->p_option[i] >= 0 && r->p_option[i] == c->p_option[i]);
        sum += r->p_option[i];
    }
    if (r->has_p) {
        assert_true(fabs(sum - 1) < 1e-12);
        assert_true(r->p == r->p_option[r->predicted]);
    } else {
        assert_true(isnan(r->p));
    }
    with_p += r->has_p;
}

static void every_strategy_gives_probabilities_that_sum_to_1(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char set[64];
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        with_p = 0;
        cases((const char *[]){set, NULL}, NULL, 8, p_look);
        if (with_p != 8)
            fail_msg("%s: %d of 8 cases have probabilities", (*s)->name, with_p);
    }
}

/* The place of the letter in the reply of the last call, and the probabilities there. */
static void last_look(const struct consult *c, const struct result *r)
{
    for (int i = 0; i < r->n_options; i++)
        assert_true(fabs(r->p_option[c->shown[i]] - exp(c->last->llm.choice_lp[i])) < 1e-15);
}

static void cot_and_panel_take_the_probabilities_of_their_last_call(void **state)
{
    (void)state;
    cases((const char *[]){"strategy=cot", NULL}, NULL, 8, last_look);
    cases((const char *[]){"strategy=panel", NULL}, NULL, 8, last_look);
}

static void a_model_that_gives_no_probabilities_changes_no_answer(void **state)
{
    (void)state;
    static const char *const names[] = {"cot", "panel"};
    for (int i = 0; i < 2; i++) {
        char set[64];
        snprintf(set, sizeof set, "strategy=%s", names[i]);
        with_p = 0;
        cases((const char *[]){set, NULL}, &(struct script){.only_index = -1, .no_choice = true}, 8,
              p_look);
        assert_int_equal(with_p, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_frequent_answer_wins_and_shares_are_its_probabilities),
        cmocka_unit_test(a_sample_that_cannot_be_read_is_no_vote),
        cmocka_unit_test(log_probabilities_decide_a_tie_or_nothing_does),
        cmocka_unit_test(a_confident_minority_can_win_by_weight),
        cmocka_unit_test(samples_at_temperature_0_are_refused),
        cmocka_unit_test(a_debate_stops_when_all_agree),
        cmocka_unit_test(a_debate_without_agreement_is_decided_by_one_more_call),
        cmocka_unit_test(a_debater_that_cannot_be_read_keeps_its_position),
        cmocka_unit_test(each_stage_of_a_pipeline_reads_those_before),
        cmocka_unit_test(a_draft_goes_back_to_the_specialists_once),
        cmocka_unit_test(experts_vote_until_they_agree_or_the_votes_are_over),
        cmocka_unit_test(experts_that_cannot_be_read_are_left_out_and_none_is_no_answer),
        cmocka_unit_test(a_round_shares_its_beginning_and_reads_the_rounds_before),
        cmocka_unit_test(every_strategy_gives_probabilities_that_sum_to_1),
        cmocka_unit_test(cot_and_panel_take_the_probabilities_of_their_last_call),
        cmocka_unit_test(a_model_that_gives_no_probabilities_changes_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
