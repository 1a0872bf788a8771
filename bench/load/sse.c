/* Server-sent events: one request for each subscription, and its chunked response. */
#define _GNU_SOURCE
#include "load.h"

#include <stdlib.h>

void ask_for_events(struct conn *conn, const struct stream *stream) {
    struct bytes *out = &conn->out;
    say(out, "GET /events?topic=");
    say(out, stream->topic);
    say(out, "&key=");
    say(out, stream->name);
    if (options.rollup) {
        say(out, "&rollupMs=");
        say_number(out, (uint64_t)options.rollup);
    }
    say(out, " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n");
}

/* One event, or a comment. Its data is one line, since it is JSON. */
static void event(struct conn *conn, const char *at, const char *end) {
    static const char DATA[] = "data: ";
    const char *data = NULL, *past = NULL, *line;
    for (; at < end; at = line + 1) {
        if (!(line = memchr(at, '\n', (size_t)(end - at))))
            line = end;
        if ((size_t)(line - at) < sizeof DATA - 1 || memcmp(at, DATA, sizeof DATA - 1))
            continue; /* an id, a name, a comment */
        if (data)
            problem("data of two lines: %.*s", (int)(line - data > 200 ? 200 : line - data), data);
        data = at + sizeof DATA - 1;
        past = line;
    }
    if (data)
        documents(conn, data, (size_t)(past - data), "");
}

/* Handle the complete events; where the first incomplete one begins. */
static const char *events(struct conn *conn, const char *at, const char *end) {
    for (const char *gap; (gap = memmem(at, (size_t)(end - at), "\n\n", 2)); at = gap + 2)
        event(conn, at, gap);
    return at;
}

static void body(struct conn *conn, const char *at, size_t length) {
    if (!conn->carry.used) {
        const char *left = events(conn, at, at + length);
        add(&conn->carry, left, (size_t)(at + length - left));
        return;
    }
    add(&conn->carry, at, length);
    const char *end = conn->carry.at + conn->carry.used;
    keep(&conn->carry, events(conn, conn->carry.at, end), end);
}

/* Past the response's head; NULL: it is not there yet, or not as it has to be. */
static const char *head(struct conn *conn, const char *at, const char *end) {
    static const char OK[] = "HTTP/1.1 200";
    const char *past = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
    if (!past)
        return NULL;
    if (memcmp(at, OK, sizeof OK - 1)) {
        lost(conn, "the request was refused");
        return NULL;
    }
    conn->headed = true;
    return past + 4;
}

/* Past the line that says how long a chunk is; NULL: it is not all there. */
static const char *chunk(struct conn *conn, const char *at, const char *end) {
    if (end - at >= 2 && !memcmp(at, "\r\n", 2))
        at += 2; /* the end of the one before it */
    const char *past = memmem(at, (size_t)(end - at), "\r\n", 2);
    if (!past || past == at)
        return NULL;
    conn->chunk = strtoull(at, NULL, 16);
    if (!conn->chunk)
        lost(conn, "the response has ended");
    return past + 2;
}

const char *event_stream(struct conn *conn, const char *at, const char *end) {
    const char *past = at;
    if (!conn->headed && !(past = head(conn, at, end)))
        return at;
    for (at = past; at < end && conn->fd >= 0; at = past) {
        if (!conn->chunk) {
            if (!(past = chunk(conn, at, end)))
                break;
            continue;
        }
        size_t length = (size_t)(end - at);
        length = length < conn->chunk ? length : conn->chunk;
        body(conn, at, length);
        conn->chunk -= length;
        past = at + length;
    }
    return at;
}
