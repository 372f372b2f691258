/*
 * nvtx_record: a profiler's library that writes down the calls of NVTX, for tests without a GPU. A
 * process loads it when NVTX_INJECTION64_PATH names it (NVTX's documented way in).
 *
 * NVTX_RECORD_FILE: the file, one JSON object a call. Without it calls are counted, which tells the
 * cost of the caller. NVTX_RECORD_PLAIN: takes no schemas of payloads, as older profilers do.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <nvtx3/nvToolsExt.h>
#include <nvtx3/nvToolsExtPayload.h>

int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t table);
int InitializeInjectionNvtxExtension(nvtxExtModuleInfo_t *module);

enum { MOST_SCHEMAS = 8, MOST_ENTRIES = 8, FIRST_SCHEMA = 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *file;
static unsigned long calls, ids;
static struct {
    char name[MOST_ENTRIES][32];
    uint64_t type[MOST_ENTRIES], at[MOST_ENTRIES];
    size_t n, size;
} schema[MOST_SCHEMAS];
static int n_schema;

/* ---- JSON ------------------------------------------------------------------------------------ */

static void text(const char *s)
{
    fputc('"', file);
    for (; *s; s++)
        if (*s == '"' || *s == '\\' || (unsigned char)*s < 0x20)
            fprintf(file, "\\u%04x", (unsigned)(unsigned char)*s);
        else
            fputc(*s, file);
    fputc('"', file);
}

/* Begins a line; false: nothing is written. Ends with line_end. */
static int line(const char *what)
{
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (!file)
        return 0;
    pthread_mutex_lock(&lock);
    fprintf(file, "{\"call\": \"%s\", \"tid\": %ld", what, (long)syscall(SYS_gettid));
    return 1;
}

static void line_end(void)
{
    fputs("}\n", file);
    pthread_mutex_unlock(&lock);
}

static void extended(const nvtxPayloadData_t *p, uint32_t n)
{
    uint64_t k = p->schemaId - FIRST_SCHEMA;
    if (n != 1 || k >= (uint64_t)n_schema || p->size != schema[k].size) {
        fputs(", \"payload\": \"of an unknown schema\"", file);
        return;
    }
    fputs(", \"payload\": {", file);
    for (size_t i = 0; i < schema[k].n; i++) {
        int64_t v;
        memcpy(&v, (const char *)p->payload + schema[k].at[i], sizeof v);
        fprintf(file, "%s\"%s\": %lld", i ? ", " : "", schema[k].name[i], (long long)v);
    }
    fputc('}', file);
}

static void attributes(const nvtxEventAttributes_t *a)
{
    fprintf(file, ", \"category\": %u, \"registered\": %d, \"name\": ", a->category,
            a->messageType == NVTX_MESSAGE_TYPE_REGISTERED);
    text(a->messageType == NVTX_MESSAGE_TYPE_REGISTERED
             ? (const char *)a->message.registered /* our handle of a string is its copy */
             : a->message.ascii);
    if (a->payloadType == NVTX_PAYLOAD_TYPE_UNSIGNED_INT64)
        fprintf(file, ", \"payload\": %llu", (unsigned long long)a->payload.ullValue);
    else if (a->payloadType == NVTX_PAYLOAD_TYPE_EXT)
        extended((const nvtxPayloadData_t *)(uintptr_t)a->payload.ullValue, (uint32_t)a->reserved0);
}

/* ---- calls that a profiler takes ------------------------------------------------------------------- */

static nvtxDomainHandle_t NVTX_API domain_create(const char *name)
{
    if (line("domain")) {
        fputs(", \"name\": ", file);
        text(name);
        line_end();
    }
    return (nvtxDomainHandle_t)&schema; /* any address */
}

static void NVTX_API domain_destroy(nvtxDomainHandle_t domain)
{
    (void)domain;
    if (line("destroy")) {
        line_end();
        fflush(file);
    }
}

/* Copies live as long as the process, as a profiler's do. */
static nvtxStringHandle_t NVTX_API register_string(nvtxDomainHandle_t domain, const char *s)
{
    (void)domain;
    if (line("string")) {
        fputs(", \"name\": ", file);
        text(s);
        line_end();
    }
    return (nvtxStringHandle_t)strdup(s);
}

static void NVTX_API category(nvtxDomainHandle_t domain, uint32_t id, const char *name)
{
    (void)domain;
    if (line("category")) {
        fprintf(file, ", \"id\": %u, \"name\": ", id);
        text(name);
        line_end();
    }
}

static void NVTX_API thread_name(uint32_t id, const char *name)
{
    if (line("thread")) {
        fprintf(file, ", \"id\": %u, \"name\": ", id);
        text(name);
        line_end();
    }
}

static int NVTX_API push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *a)
{
    (void)domain;
    if (line("push")) {
        attributes(a);
        line_end();
    }
    return 0;
}

static int NVTX_API pop(nvtxDomainHandle_t domain)
{
    (void)domain;
    if (line("pop"))
        line_end();
    return 0;
}

static nvtxRangeId_t NVTX_API start(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *a)
{
    nvtxRangeId_t id = __atomic_add_fetch(&ids, 1, __ATOMIC_RELAXED);
    (void)domain;
    if (line("start")) {
        fprintf(file, ", \"id\": %llu", (unsigned long long)id);
        attributes(a);
        line_end();
    }
    return id;
}

static void NVTX_API end(nvtxDomainHandle_t domain, nvtxRangeId_t id)
{
    (void)domain;
    if (line("end")) {
        fprintf(file, ", \"id\": %llu", (unsigned long long)id);
        line_end();
    }
}

static void NVTX_API mark(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *a)
{
    (void)domain;
    if (line("mark")) {
        attributes(a);
        line_end();
    }
}

static uint64_t NVTX_API schema_register(nvtxDomainHandle_t domain,
                                         const nvtxPayloadSchemaAttr_t *a)
{
    (void)domain;
    if (n_schema == MOST_SCHEMAS || a->numEntries > MOST_ENTRIES)
        return 0;
    int k = n_schema++;
    schema[k].n = a->numEntries;
    schema[k].size = a->payloadStaticSize;
    if (!line("schema"))
        return 0;
    fputs(", \"name\": ", file);
    text(a->name);
    fputs(", \"entries\": [", file);
    for (size_t i = 0; i < a->numEntries; i++) {
        snprintf(schema[k].name[i], sizeof schema[k].name[i], "%s", a->entries[i].name);
        schema[k].type[i] = a->entries[i].type;
        schema[k].at[i] = a->entries[i].offset;
        fprintf(file, "%s[\"%s\", %llu]", i ? ", " : "", schema[k].name[i],
                (unsigned long long)schema[k].type[i]);
    }
    fputc(']', file);
    line_end();
    return FIRST_SCHEMA + (uint64_t)k;
}

/* ---- attaching ------------------------------------------------------------------------------- */

static void set(NvtxFunctionTable table, unsigned size, unsigned id, NvtxFunctionPointer f)
{
    if (id < size && table[id])
        *table[id] = f;
}

__attribute__((visibility("default"))) int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t table)
{
    const NvtxExportTableCallbacks *callbacks = table(NVTX_ETID_CALLBACKS);
    const char *path = getenv("NVTX_RECORD_FILE");
    NvtxFunctionTable core, core2;
    unsigned n, n2;
    if (!callbacks || callbacks->struct_size < sizeof *callbacks ||
        !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &core, &n) ||
        !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &core2, &n2))
        return 0;
    if (path && !file)
        file = fopen(path, "w");
#define SET(t, n_, id, f) set((t), (n_), NVTX_CBID_##id, (NvtxFunctionPointer)(f))
    SET(core, n, CORE_NameOsThreadA, thread_name);
    SET(core2, n2, CORE2_DomainCreateA, domain_create);
    SET(core2, n2, CORE2_DomainDestroy, domain_destroy);
    SET(core2, n2, CORE2_DomainRegisterStringA, register_string);
    SET(core2, n2, CORE2_DomainNameCategoryA, category);
    SET(core2, n2, CORE2_DomainRangePushEx, push);
    SET(core2, n2, CORE2_DomainRangePop, pop);
    SET(core2, n2, CORE2_DomainRangeStartEx, start);
    SET(core2, n2, CORE2_DomainRangeEnd, end);
    SET(core2, n2, CORE2_DomainMarkEx, mark);
#undef SET
    return 1;
}

__attribute__((visibility("default"))) int
InitializeInjectionNvtxExtension(nvtxExtModuleInfo_t *module)
{
    if (getenv("NVTX_RECORD_PLAIN") || module->moduleId != NVTX_EXT_PAYLOAD_MODULEID ||
        !module->segmentsCount ||
        module->segments[0].slotCount <= NVTX3EXT_CBID_nvtxPayloadSchemaRegister)
        return 0;
    module->segments[0].functionSlots[NVTX3EXT_CBID_nvtxPayloadSchemaRegister] =
        (intptr_t)schema_register;
    return 1;
}

__attribute__((destructor)) static void done(void)
{
    if (file)
        fclose(file);
    else if (getenv("NVTX_RECORD_COUNT"))
        fprintf(stderr, "nvtx_record: %lu calls\n", calls);
}
