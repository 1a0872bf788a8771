/* Bytes that grow, and the histogram. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

char *more(struct bytes *b, size_t count) {
    if (b->used + count > b->room) {
        b->room = (b->used + count) * 2;
        b->at = realloc(b->at, b->room);
        if (!b->at)
            abort();
    }
    return b->at + b->used;
}

void add(struct bytes *b, const void *from, size_t count) {
    memcpy(more(b, count), from, count);
    b->used += count;
}

void say(struct bytes *b, const char *text) { add(b, text, strlen(text)); }

void say_number(struct bytes *b, uint64_t number) {
    char digits[20];
    int at = 20;
    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    add(b, digits + at, (size_t)(20 - at));
}

void keep(struct bytes *b, const char *from, const char *end) {
    size_t length = (size_t)(end - from);
    if (length > b->room) { /* then `from` cannot be its own */
        b->used = 0;
        more(b, length);
    }
    if (length)
        memmove(b->at, from, length);
    b->used = length;
}

static unsigned slot(uint64_t value) {
    if (value < 256)
        return (unsigned)value;
    int shift = 56 - __builtin_clzll(value); /* leaves 8 bits, the first of which is 1 */
    unsigned at = (unsigned)shift * 128 + (unsigned)(value >> shift);
    return at < 128 * 34 ? at : 128 * 34 - 1;
}

void record(struct histogram *h, uint64_t value, uint64_t times) {
    h->counts[slot(value)] += times;
    h->total += times;
    if (value > h->highest)
        h->highest = value;
}

double percentile(const struct histogram *h, double part) {
    uint64_t wanted = (uint64_t)((double)h->total * part), seen = 0;
    if (!h->total)
        return 0;
    for (unsigned at = 0; at < 128 * 34; at++) {
        seen += h->counts[at];
        if (seen <= wanted)
            continue;
        if (at < 256)
            return at;
        unsigned shift = at / 128 - 1;
        return ((double)(at - shift * 128) + 0.5) * (double)(1ULL << shift);
    }
    return (double)h->highest;
}
