/*
 * review: the folder review/ of an unpacked bundle. It holds the questions, prompts and catalogue
 * of the run. A command that reads a run takes them from there before it looks elsewhere.
 *
 *   RUN/review/..          of a run, or of one cell of an experiment
 *   RUN/../review/..       shared by the cells of an experiment: RUN/../grid.json is there
 */
#ifndef MAS_REVIEW_H
#define MAS_REVIEW_H

#include <stdbool.h>
#include <stddef.h>

#define REVIEW_PATH 1200
#define REVIEW_QUESTIONS "questions.jsonl" /* the data file of the run, bytes after inflation */
#define REVIEW_PROMPTS "prompts"           /* a folder, as prompts_dir */
#define REVIEW_SPECIALTIES "specialties.yaml"

/* The path of review/NAME of the run in dir; false: there is none, or its name is too long. */
bool review_file(const char *dir, const char *name, char path[REVIEW_PATH]);

#endif
