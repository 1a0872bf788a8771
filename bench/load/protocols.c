/* What the systems speak. A new protocol is one more entry in the table at the end. */
#include "load.h"

static void subscribe_as(struct conn *conn, const char *before, const struct stream *stream,
                         const char *after) {
    static struct bytes text;
    text.used = 0;
    say(&text, before);
    say(&text, "\"topic\":\"");
    say(&text, stream->topic);
    say(&text, "\",\"key\":\"");
    say(&text, stream->name);
    say(&text, "\"");
    if (options.rollup) {
        say(&text, ",\"rollupMs\":");
        say_number(&text, (uint64_t)options.rollup);
    }
    say(&text, after);
    message(conn, &text);
}

/* edgestream's JSON, and what was given the same shapes */

static void edgestream_before(struct bytes *out, const struct stream *stream) {
    say(out, "\"topic\":\"");
    say(out, stream->topic);
    if (options.keyed) {
        say(out, "\",\"key\":\"");
        say(out, stream->name);
    }
    say(out, "\",\"body\":");
}

static void edgestream_publish(struct bytes *out, struct conn *conn, struct stream *stream,
                               bool last) {
    say(out, "{\"op\":\"publish\",");
    if (options.acks) {
        say(out, "\"id\":");
        say_number(out, ++conn->last_id);
        say(out, ",");
    }
    add(out, stream->before.at, stream->before.used);
    write_body(out, stream, last);
    say(out, "}");
}

static void edgestream_subscribe(struct conn *conn, const struct stream *stream) {
    struct bytes before = {0};
    say(&before, "{\"op\":\"subscribe\",\"id\":");
    say_number(&before, ++conn->last_id);
    add(&before, ",", 2);
    subscribe_as(conn, before.at, stream, "}");
}

static size_t edgestream_receive(struct conn *conn, const char *from, size_t length, bool final) {
    return final ? documents(conn, from, length, "") : 0;
}

/* Socket.IO: Engine.IO text frames, events in rooms */

static void socketio_publish(struct bytes *out, struct conn *conn, struct stream *stream,
                             bool last) {
    (void)conn;
    say(out, "{");
    add(out, stream->before.at, stream->before.used);
    write_body(out, stream, last);
    say(out, "}");
}

static void socketio_subscribe(struct conn *conn, const struct stream *stream) {
    subscribe_as(conn, "420[\"subscribe\",{", stream, "}]");
}

static size_t socketio_receive(struct conn *conn, const char *from, size_t length, bool final) {
    static const char EVENT[] = "42[\"event\",";
    if (!final)
        return 0;
    if (length > sizeof EVENT && !memcmp(from, EVENT, sizeof EVENT - 1)) {
        documents(conn, from + sizeof EVENT - 1, length - sizeof EVENT, "event");
    } else if (length && *from == '2') {
        frame(conn, TEXT, "3", 1);
        flush(conn);
    } else if (length > 1 && !memcmp(from, "40", 2)) {
        conn->open = true;
    } else if (length > 1 && !memcmp(from, "43", 2)) {
        conn->standing++;
    } else if (length && *from != '0') {
        problem("not understood: %.*s", length > 200 ? 200 : (int)length, from);
    }
    return length;
}

/* NATS: its own protocol, a stream of bytes in binary frames; a subject is topic.session */

static void nats_subject(struct bytes *out, const char *verb, const struct stream *stream) {
    say(out, verb);
    say(out, stream->topic);
    say(out, ".");
    say(out, stream->name);
    say(out, " ");
}

static void nats_before(struct bytes *out, const struct stream *stream) {
    nats_subject(out, "PUB ", stream);
}

static void nats_publish(struct bytes *out, struct conn *conn, struct stream *stream, bool last) {
    static struct bytes body;
    (void)conn;
    body.used = 0;
    write_body(&body, stream, last);
    add(out, stream->before.at, stream->before.used);
    say_number(out, body.used);
    say(out, "\r\n");
    add(out, body.at, body.used);
    say(out, "\r\n");
}

static void nats_subscribe(struct conn *conn, const struct stream *stream) {
    static struct bytes text;
    text.used = 0;
    nats_subject(&text, "SUB ", stream);
    say_number(&text, ++conn->last_id); /* the place's number, from 1 */
    say(&text, "\r\nPING\r\n");
    message(conn, &text);
}

/* MSG subject sid [reply] size: the place by its sid, which must have that subject. */
static struct sub *nats_place(struct conn *conn, const char *at, const char *end, size_t *size) {
    const char *subject = at + 4, *space = memchr(subject, ' ', (size_t)(end - subject));
    uint64_t sid = 0;
    *size = 0;
    if (!space)
        return NULL;
    for (at = space + 1; at < end && *at >= '0' && *at <= '9'; at++)
        sid = sid * 10 + (uint64_t)(*at - '0');
    for (at = end; at > space && at[-1] != ' ';)
        at--;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        *size = *size * 10 + (size_t)(*at - '0');
    if (!sid || sid > conn->sub_count)
        return NULL;
    struct sub *sub = &conn->subs[sid - 1];
    size_t topic = strlen(sub->stream->topic);
    struct span name = {subject + topic + 1, (size_t)(space - subject) - topic - 1};
    bool right = (size_t)(space - subject) > topic + 1 &&
                 !memcmp(subject, sub->stream->topic, topic) && equal(name, sub->stream->name);
    return right ? sub : NULL;
}

static void nats_message(struct conn *conn, struct sub *sub, const char *at, size_t size) {
    struct sub *same = NULL;
    if (!sub)
        problem("got a token of a subject that was not subscribed to: %.*s", (int)size, at);
    else if (same_as_sent(conn, at, at + size + 2, &same) == size && same == sub)
        take_next(sub);
    else
        take(conn, at, at + size, (struct span){0},
             (struct span){sub->stream->name, strlen(sub->stream->name)});
}

static void nats_line(struct conn *conn, const char *at, const char *end) {
    if (!memcmp(at, "PING", 4)) {
        frame(conn, BINARY, "PONG\r\n", 6);
        flush(conn);
    } else if (!memcmp(at, "PONG", 4)) {
        if (conn->open)
            conn->standing++;
        conn->open = true;
    } else if (!memcmp(at, "-ERR", 4)) {
        problem("%.*s", (int)(end - at), at);
    }
}

static size_t nats_receive(struct conn *conn, const char *from, size_t length, bool final) {
    const char *at = from, *end = from + length, *line;
    (void)final;
    while (end - at > 4 && (line = memchr(at, '\n', (size_t)(end - at)))) {
        const char *past = line > at && line[-1] == '\r' ? line - 1 : line;
        line++;
        if (!memcmp(at, "MSG ", 4)) {
            size_t size;
            struct sub *sub = nats_place(conn, at, past, &size);
            if ((size_t)(end - line) < size + 2)
                break;
            nats_message(conn, sub, line, size);
            line += size + 2;
        } else {
            nats_line(conn, at, past);
        }
        at = line;
    }
    return (size_t)(at - from);
}

static const struct protocol protocols[] = {
    {"edgestream", "/ws/chat", "edgestream.v1.json", TEXT, true, NULL,
     {"", ""}, {"[", "]"}, ",",
     edgestream_before, edgestream_publish, edgestream_subscribe, edgestream_receive},
    {"socketio", "/socket.io/?EIO=4&transport=websocket", NULL, TEXT, false, "40",
     {"42[\"publish\",", "]"}, {"42[\"publish\",[", "]]"}, ",",
     edgestream_before, socketio_publish, socketio_subscribe, socketio_receive},
    {"nats", "/", NULL, BINARY, false,
     "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\","
     "\"protocol\":1}\r\nPING\r\n",
     {"", ""}, {"", ""}, "",
     nats_before, nats_publish, nats_subscribe, nats_receive},
};

const struct protocol *protocol_named(const char *name) {
    for (size_t n = 0; n < sizeof protocols / sizeof *protocols; n++)
        if (!strcmp(protocols[n].name, name))
            return &protocols[n];
    return NULL;
}
