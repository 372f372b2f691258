#include "kernel_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fmt.h"
#include "ops.h"

#define SPACE "cuda_dev" /* CU_NS of nvcc's build */

/* The longest op that is the beginning of the n bytes and ends there or before '_'. */
static const char *op_of(const char *s, size_t n, size_t *len)
{
    const char *best = NULL;
    *len = 0;
    for (int op = 0; op < OP_COUNT; op++) {
        const char *name = ops_op_name((enum op)op);
        size_t k = strlen(name);
        if (k <= n && k > *len && !strncmp(s, name, k) && (k == n || s[k] == '_')) {
            best = name;
            *len = k;
        }
    }
    return best;
}

/* The function's name without namespace, arguments and parameters. */
static bool function(const char *s, size_t n, struct kernel_name *out)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    size_t op;
    if (n < 3 || strncmp(s, "k_", 2) || strspn(s, letters) < n)
        return false;
    out->op = op_of(s + 2, n - 2, &op);
    if (!out->op)
        return false;
    size_t rest = n - 2 - op;
    if (rest > sizeof out->kernel)
        return false;
    snprintf(out->kernel, sizeof out->kernel, "%.*s", rest ? (int)rest - 1 : 0,
             s + 2 + op + (rest ? 1 : 0));
    return true;
}

/* ---- the template's arguments ---------------------------------------------------------------- */

/* Appends one argument; false: no room. A number of the type fmt becomes the format's name. */
static bool add(struct kernel_name *out, const char *type, size_t n_type, const char *s, size_t n)
{
    size_t used = strlen(out->instance);
    char text[64], *end;
    if (n >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%.*s", (int)n, s);
    if (!strcmp(text, "false") || !strcmp(text, "true"))
        snprintf(text, sizeof text, "%d", text[0] == 't');
    if (n_type == 3 && !strncmp(type, "fmt", 3)) {
        long f = strtol(text, &end, 10);
        if (end == text || *end || f < 0 || f >= FMT_COUNT)
            return false;
        snprintf(text, sizeof text, "%s", fmt_info((enum fmt)f)->name);
    }
    int k =
        snprintf(out->instance + used, sizeof out->instance - used, "%s%s", used ? ", " : "", text);
    return k > 0 && (size_t)k < sizeof out->instance - used;
}

/* "(fmt)4, (int)8, cuda_dev::attn_base_2": s is after '<', *at stays after '>'. */
static bool demangled(const char *s, struct kernel_name *out)
{
    while (*s && *s != '>') {
        const char *type = "";
        size_t n_type = 0;
        s += strspn(s, ", ");
        if (*s == '(') {
            type = s + 1;
            n_type = strcspn(type, ")");
            if (!type[n_type])
                return false;
            s = type + n_type + 1;
        }
        if (!strncmp(s, SPACE "::", strlen(SPACE "::")))
            s += strlen(SPACE "::");
        size_t n = strcspn(s, ",>");
        if (!n || memchr(s, '<', n) || !add(out, type, n_type, s, n))
            return false;
        s += n;
    }
    return *s == '>';
}

/* A number and the name of so many bytes: "8cuda_dev". false: another form, or cut off. */
static bool source_name(const char **s, const char **name, size_t *n)
{
    char *end;
    if (**s < '1' || **s > '9')
        return false;
    unsigned long k = strtoul(*s, &end, 10);
    if (k > 255 || strnlen(end, k) < k)
        return false;
    *name = end;
    *n = k;
    *s = end + k;
    return true;
}

/* "L3fmt4ELi8ENS_11attn_base_2EE" (Itanium C++ ABI, template-args): literals, and types of the same
 * namespace. */
static bool mangled(const char *s, struct kernel_name *out)
{
    while (*s && *s != 'E') {
        const char *type = "", *name;
        size_t n_type = 0, n;
        if (*s == 'L') {
            s++;
            if (*s >= 'a' && *s <= 'z')
                s++;
            else if (!source_name(&s, &type, &n_type))
                return false;
            n = strspn(s, "0123456789");
            if (!n || s[n] != 'E' || !add(out, type, n_type, s, n))
                return false;
            s += n + 1;
        } else if (!strncmp(s, "NS_", 3)) {
            s += 3;
            if (!source_name(&s, &name, &n) || *s != 'E' || !add(out, "", 0, name, n))
                return false;
            s++;
        } else {
            return false;
        }
    }
    return *s == 'E';
}

/* ---- the three forms ------------------------------------------------------------------------- */

bool kernel_name_parse(const char *name, struct kernel_name *out)
{
    struct kernel_name k = {.op = NULL};
    const char *s = name, *id;
    size_t n;
    bool whole;
    if (!strncmp(s, "_ZN", 3)) {
        s += 3;
        if (!source_name(&s, &id, &n) || n != strlen(SPACE) || strncmp(id, SPACE, n) ||
            !source_name(&s, &id, &n) || !function(id, n, &k))
            return false;
        whole = *s != 'I' || mangled(s + 1, &k);
    } else {
        if (!strncmp(s, "void ", 5))
            s += 5;
        if (!strncmp(s, SPACE "::", strlen(SPACE "::")))
            s += strlen(SPACE "::");
        n = strcspn(s, "<(");
        if (!function(s, n, &k))
            return false;
        whole = s[n] != '<' || demangled(s + n + 1, &k);
    }
    if (!whole)
        k.instance[0] = 0;
    *out = k;
    return true;
}
