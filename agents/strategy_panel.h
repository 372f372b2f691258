/*
 * strategy_panel: the work of panel for strategies that go on after it. Such a
 * strategy opens, starts and steps strategy_panel with a state of its own. It lists the roles of
 * PANEL_ROLES first, in this order.
 */
#ifndef MAS_STRATEGY_PANEL_H
#define MAS_STRATEGY_PANEL_H

#include "strategy.h"

enum { PANEL_PLANNER, PANEL_RANKER, PANEL_SPECIALIST, PANEL_AGGREGATOR, PANEL_N_ROLES };

/* The planner has the same role where the selection is by score: nothing is generated. again: the
 * aggregator is asked more than once. */
#define PANEL_ROLES(again)                                                                         \
    [PANEL_PLANNER] = {.name = "planner",                                                          \
                       .doc = "triages and selects the specialties",                               \
                       .key = "planner",                                                           \
                       .needs = LLM_CAN_SCHEMA,                                                    \
                       .temperature = -1,                                                          \
                       .json = "planner"},                                                         \
    [PANEL_RANKER] = {.name = "planner",                                                           \
                      .doc = "ranks the catalogue by log-probability",                             \
                      .key = "planner",                                                            \
                      .needs = LLM_CAN_SCORE | LLM_CAN_PREFIX,                                     \
                      .temperature = -1},                                                          \
    [PANEL_SPECIALIST] = {.name = "specialist",                                                    \
                          .doc = "reports from one specialty",                                     \
                          .key = "specialist",                                                     \
                          .needs = LLM_CAN_SCHEMA,                                                 \
                          .temperature = -1,                                                       \
                          .many = true,                                                            \
                          .json = "reports"},                                                      \
    [PANEL_AGGREGATOR] = {.name = "aggregator",                                                    \
                          .doc = "weighs the reports and decides",                                 \
                          .key = "aggregator",                                                     \
                          .needs = LLM_CAN_SCHEMA,                                                 \
                          .temperature = -1,                                                       \
                          .many = again,                                                           \
                          .json = "decision"}

/* The settings planner.*, which both strategies read. */
extern const struct option_set panel_option_set;
/* True when the settings ask the panel's role of this number. */
bool panel_asks_role(const struct strategy_env *env, int role);
/* (consult.n_reports) the reports that could be used, in order of selection. */
const struct answer_report *panel_reports(const struct consult *c);
const struct answer_decision *panel_decision(const struct consult *c); /* NULL = none yet */
/* The data of a strategy that goes on; NULL before it is set. */
void *panel_more(const struct consult *c);
void panel_set_more(struct consult *c, void *more);

#endif
