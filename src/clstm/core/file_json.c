/* JSON tokens, decoded strings, and sorted tables of strings. */
#include "file_json.h"

#include <string.h>

void clstm_i_json_fail(clstm_i_json *json) {
    json->failed = 1;
    json->at = json->end;
}

static void skip_blanks(clstm_i_json *json) {
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r'))
        json->at++;
}

int clstm_i_json_accept(clstm_i_json *json, char token) {
    skip_blanks(json);
    if (json->at == json->end || *json->at != token) return 0;
    json->at++;
    return 1;
}

void clstm_i_json_require(clstm_i_json *json, char token) {
    if (!clstm_i_json_accept(json, token)) clstm_i_json_fail(json);
}

void clstm_i_json_require_end(clstm_i_json *json) {
    skip_blanks(json);
    if (json->at < json->end) clstm_i_json_fail(json);
}

static int digit_comes(const clstm_i_json *json) {
    return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

size_t clstm_i_json_size(clstm_i_json *json) {
    size_t size = 0;
    skip_blanks(json);
    if (!digit_comes(json)) clstm_i_json_fail(json);
    else if (*json->at == '0') json->at++; /* no leading zeros: a digit after it is not a valid next token */
    else
        for (; digit_comes(json); json->at++)
            if (__builtin_mul_overflow(size, 10, &size) || __builtin_add_overflow(size, *json->at - '0', &size)) {
                clstm_i_json_fail(json);
                return 0;
            }
    return size;
}

/* ---- Strings ---------------------------------------------------------------------------------------------- */

/* Four hexadecimal digits. */
static int read_unit(const char *at, uint32_t *unit) {
    *unit = 0;
    for (int k = 0; k < 4; k++) {
        const char c = at[k], lower = (char)(c | 32);
        if (c >= '0' && c <= '9') *unit = *unit << 4 | (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f') *unit = *unit << 4 | (uint32_t)(lower - 'a' + 10);
        else return 0;
    }
    return 1;
}

/* The length of the escape at a backslash, and its code point; 0 if it is invalid. Reads nothing after the first
   error. */
static size_t read_escape(const char *at, size_t left, uint32_t *code) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (left < 2) return 0;
    if (at[1] != 'u') {
        const char *letter = at[1] ? strchr(letters, at[1]) : NULL;
        if (!letter) return 0;
        *code = (uint32_t)meanings[letter - letters];
        return 2;
    }
    if (left < 6 || !read_unit(at + 2, code)) return 0;
    if (*code < 0xd800 || *code > 0xdfff) return 6;
    uint32_t low; /* low surrogate, which must follow the high one */
    if (*code > 0xdbff || left < 12 || at[6] != '\\' || at[7] != 'u' || !read_unit(at + 8, &low)
        || low < 0xdc00 || low > 0xdfff) return 0;
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return 12;
}

const char *clstm_i_json_string(clstm_i_json *json) {
    if (!clstm_i_json_accept(json, '"')) {
        clstm_i_json_fail(json);
        return NULL;
    }
    const char *string = json->at - 1;
    while (json->at < json->end && *json->at != '"') {
        uint32_t code;
        size_t taken = (unsigned char)*json->at >= ' '; /* control characters must be escaped */
        if (*json->at == '\\') taken = read_escape(json->at, (size_t)(json->end - json->at), &code);
        if (!taken) break;
        json->at += taken;
    }
    if (json->at < json->end && *json->at == '"') {
        json->at++;
        return string;
    }
    clstm_i_json_fail(json);
    return NULL;
}

/* The UTF-8 bytes of a code point, the first one lowest. */
static uint32_t utf8(uint32_t code) {
    const uint32_t last = 0x80 | (code & 63), third = 0x80 | (code >> 6 & 63), second = 0x80 | (code >> 12 & 63);
    if (code < 0x80) return code;
    if (code < 0x800) return 0xc0 | code >> 6 | last << 8;
    if (code < 0x10000) return 0xe0 | code >> 12 | third << 8 | last << 16;
    return 0xf0 | code >> 18 | second << 8 | third << 16 | last << 24;
}

clstm_i_text clstm_i_text_of(const char *string) { return (clstm_i_text){string + 1, 0}; }

int clstm_i_text_next(clstm_i_text *text) {
    if (!text->rest) {
        if (*text->at == '"') return -1;
        if (*text->at != '\\') return (unsigned char)*text->at++;
        uint32_t code = 0;
        text->at += read_escape(text->at, 12, &code); /* valid: clstm_i_json_string has checked it */
        text->rest = utf8(code);
    }
    const int byte = text->rest & 255; /* \u0000 gives zero and leaves no rest */
    text->rest >>= 8;
    return byte;
}

/* Compares bytes, with a result like strcmp's; the zero that ends a name is not one of its bytes. */
static int compare(const char *string, const char *name) {
    clstm_i_text text = clstm_i_text_of(string);
    for (;; name++) {
        const int byte = clstm_i_text_next(&text), wanted = *name ? (unsigned char)*name : -1;
        if (byte != wanted) return byte < wanted ? -1 : 1;
        if (byte < 0) return 0;
    }
}

int clstm_i_text_is(const char *string, const char *name) { return string && compare(string, name) == 0; }

/* ---- Sorted names ----------------------------------------------------------------------------------------- */

void clstm_i_names_add(clstm_i_names *names, const char *string) {
    if (!string) return;
    if (names->at) names->at[names->count] = (uint32_t)(string - names->header);
    names->count++;
}

static int compare_names(const clstm_i_names *names, uint32_t a, uint32_t b) {
    clstm_i_text one = clstm_i_text_of(names->header + a), other = clstm_i_text_of(names->header + b);
    for (;;) {
        const int byte = clstm_i_text_next(&one), second = clstm_i_text_next(&other);
        if (byte != second) return byte < second ? -1 : 1;
        if (byte < 0) return 0;
    }
}

static int name_less(const void *names, uint32_t a, uint32_t b) { return compare_names(names, a, b) < 0; }

int clstm_i_names_sort(clstm_i_names *names) {
    clstm_i_sort(names->at, names->count, name_less, names);
    for (size_t k = 1; k < names->count; k++)
        if (compare_names(names, names->at[k - 1], names->at[k]) == 0) return 0;
    return 1;
}

const char *clstm_i_names_find(const clstm_i_names *names, const char *name) {
    size_t low = 0, high = names->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const char *string = names->header + names->at[middle];
        const int order = compare(string, name);
        if (order == 0) return string;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

/* Sifts the root down until neither child is greater. */
static void sink(uint32_t *items, size_t root, size_t n, int (*less)(const void *, uint32_t, uint32_t),
                 const void *context) {
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && less(context, items[child], items[child + 1])) child++;
        if (!less(context, items[root], items[child])) return;
        const uint32_t item = items[root];
        items[root] = items[child];
        items[child] = item;
    }
}

void clstm_i_sort(uint32_t *items, size_t n, int (*less)(const void *context, uint32_t a, uint32_t b),
                  const void *context) {
    for (size_t root = n / 2; root-- > 0;) sink(items, root, n, less, context);
    for (size_t last = n; last-- > 1;) {
        const uint32_t largest = items[0];
        items[0] = items[last];
        items[last] = largest;
        sink(items, 0, last, less, context);
    }
}
