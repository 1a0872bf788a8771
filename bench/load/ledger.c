/* Every token sent and received: the account that must balance. */
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 16, MOST_PROBLEMS = 20 };

static const struct span words[WORDS] = {
#define WORD(text) {text, sizeof text - 1}
    WORD(" the"),   WORD(" answer"), WORD(" is"),   WORD(" in"),  WORD(" stream"), WORD("s,"),
    WORD(" so"),    WORD(" it"),     WORD(" comes"), WORD(" a"),  WORD(" token"),  WORD(" at"),
    WORD(" time"),  WORD(" and"),    WORD(" never"), WORD(" twice."),
};
static const char INDEX[] = "\",\"tokenIndex\":", END[] = ",\"isLast\":false}";

struct account account;

void problem(const char *format, ...) {
    char text[300];
    va_list parts;
    if (++account.problem_count > MOST_PROBLEMS + 1)
        return;
    va_start(parts, format);
    vsnprintf(text, sizeof text, format, parts);
    va_end(parts);
    say(&account.problems, account.problem_count > 1 ? ",\"" : "\"");
    if (account.problem_count > MOST_PROBLEMS)
        strcpy(text, "... and more");
    for (const char *at = text; *at; at++) {
        if (*at == '"' || *at == '\\')
            add(&account.problems, "\\", 1);
        add(&account.problems, *at < ' ' ? "?" : at, 1);
    }
    add(&account.problems, "\"", 1);
}

struct stream *new_streams(uint32_t count, const char *prefix, const char *topic, bool own) {
    struct stream *streams = calloc(count ? count : 1, sizeof *streams);
    for (uint32_t n = 0; n < count; n++) {
        struct stream *stream = &streams[n];
        char text[160];
        snprintf(stream->name, sizeof stream->name, "%s%06u", prefix, n);
        snprintf(text, sizeof text,
                 "{\"sessionId\":\"%s\",\"turnId\":\"t%u\",\"agentId\":\"bench\",\"token\":\"",
                 stream->name, n);
        say(&stream->body, text);
        stream->topic = topic;
        stream->room = own ? 1024 : 0;
        stream->stamps = own ? calloc(stream->room, sizeof *stream->stamps) : NULL;
        options.protocol->before(&stream->before, stream);
    }
    return streams;
}

void write_body(struct bytes *out, struct stream *stream, bool last) {
    add(out, stream->body.at, stream->body.used);
    if (!last)
        add(out, words[stream->sent % WORDS].at, words[stream->sent % WORDS].length);
    add(out, INDEX, sizeof INDEX - 1);
    say_number(out, stream->sent);
    if (last)
        say(out, ",\"isLast\":true}");
    else
        add(out, END, sizeof END - 1);
}

/* The stream's next token is handed over now. */
void published(struct stream *stream, bool last, uint64_t now) {
    if (stream->sent == stream->room) {
        stream->room *= 2;
        stream->stamps = realloc(stream->stamps, stream->room * sizeof *stream->stamps);
        if (!stream->stamps)
            abort();
    }
    stream->stamps[stream->sent++] = (uint32_t)(now / 1000);
    account.sent++;
    if (!last && now >= account.opens && now < account.closes)
        account.window_sent++;
}

/* Of places in streams that are named by their number, the one in `session`. */
static struct sub *numbered(struct sub *subs, uint32_t count, struct span session) {
    uint32_t n = 0;
    if (!count || session.length < 7 || session.length != strlen(subs->stream->name))
        return NULL;
    for (size_t at = session.length - 6; at < session.length; at++)
        n = n * 10 + (uint32_t)(session.at[at] - '0');
    return n < count && equal(session, subs[n].stream->name) ? &subs[n] : NULL;
}

static struct sub *place(struct conn *conn, struct span session) {
    if (!session.at || !conn->sub_count)
        return NULL;
    if (conn->sub_count == 1)
        return equal(session, conn->subs->stream->name) ? conn->subs : NULL;
    struct sub *found = numbered(conn->subs, conn->sub_count - options.watch, session);
    return found ? found : numbered(conn->subs + options.sessions, options.watch, session);
}

/* The length of the body at `at` if it is the next one of its stream, byte for byte. */
size_t same_as_sent(struct conn *conn, const char *at, const char *end, struct sub **found) {
    static const char START[] = "{\"sessionId\":\"";
    struct sub *sub = conn->subs;
    const char *from = at;
    if (conn->sub_count != 1) {
        const char *name = at + sizeof START - 1, *past;
        if (end - at < 64 || !(past = memchr(name, '"', 20)))
            return 0;
        if (!(sub = place(conn, (struct span){name, (size_t)(past - name)})))
            return 0;
    }
    const struct stream *stream = sub->stream;
    const struct span word = words[sub->expected % WORDS];
    if ((size_t)(end - at) < stream->body.used + word.length + sizeof INDEX ||
        memcmp(at, stream->body.at, stream->body.used))
        return 0;
    at += stream->body.used;
    if (memcmp(at, word.at, word.length) ||
        memcmp(at + word.length, INDEX, sizeof INDEX - 1))
        return 0;
    uint64_t index = 0;
    for (at += word.length + sizeof INDEX - 1; at < end && *at >= '0' && *at <= '9'; at++)
        index = index * 10 + (uint64_t)(*at - '0');
    if (index != sub->expected || (size_t)(end - at) < sizeof END - 1 ||
        memcmp(at, END, sizeof END - 1))
        return 0;
    if (stream->stamps && index >= stream->sent)
        return 0;
    *found = sub;
    return (size_t)(at + sizeof END - 1 - from);
}

/* Tokens within the window count when they are received; latencies when they were published,
 * so that those which come late are not left out. */
static void count(struct stream *stream, uint64_t first, uint64_t tokens) {
    bool within = arrived >= account.opens && arrived < account.closes;
    if (!stream->stamps) {
        account.watched += tokens;
        account.window_watched += within ? tokens : 0;
        return;
    }
    account.received += tokens;
    stream->came += (uint32_t)tokens;
    account.window_received += within ? tokens : 0;
    uint32_t now = (uint32_t)(arrived / 1000), opens = (uint32_t)(account.opens / 1000);
    uint32_t length = (uint32_t)((account.closes - account.opens) / 1000);
    for (; tokens--; first++)
        if (stream->stamps[first] - opens < length)
            record(&account.latency, now - stream->stamps[first], 1);
}

/* What was `same_as_sent` has come. */
void take_next(struct sub *sub) { count(sub->stream, sub->expected++, 1); }

static bool says(struct span text, uint64_t first, uint64_t tokens) {
    for (; tokens--; first++) {
        struct span word = words[first % WORDS];
        if (text.length < word.length || memcmp(text.at, word.at, word.length))
            return false;
        text.at += word.length;
        text.length -= word.length;
    }
    return !text.length;
}

/* Account for any event that reached a subscriber; topic and key are checked if they are known. */
void take(struct conn *conn, const char *at, const char *end, struct span topic, struct span key) {
    struct body b;
    if (!parse_body(at, end, &b)) {
        problem("no body: %.*s", end - at > 200 ? 200 : (int)(end - at), at);
        return;
    }
    struct sub *sub = place(conn, b.session);
    if (!sub || (topic.at && !equal(topic, sub->stream->topic)) ||
        (key.at && !equal(key, sub->stream->name))) {
        problem("got a token of %.*s (%.*s %.*s)", (int)b.session.length, b.session.at,
                (int)topic.length, topic.at, (int)key.length, key.at);
        return;
    }
    struct stream *stream = sub->stream;
    if (b.index != sub->expected)
        problem("%s: %s token %lld, expected %u", stream->name,
                b.index > sub->expected ? "lost before" : "repeated or late:",
                (long long)b.index, sub->expected);
    if (b.count < 1 || b.index < 0 || b.index + b.count > UINT32_MAX ||
        (stream->stamps && b.index + b.count > stream->sent)) {
        problem("%s: tokens %lld+%lld were never sent", stream->name, (long long)b.index,
                (long long)b.count);
        return;
    }
    if (!says(b.token, (uint64_t)b.index, (uint64_t)(b.count - b.last)))
        problem("%s: token %lld says %.*s", stream->name, (long long)b.index,
                b.token.length > 40 ? 40 : (int)b.token.length, b.token.at);
    if (b.last && !sub->ended) {
        sub->ended = true;
        account.ended++;
    }
    if (b.count > 1)
        account.merged += (uint64_t)b.count;
    count(stream, (uint64_t)b.index, (uint64_t)b.count);
    if (b.index + b.count > sub->expected)
        sub->expected = (uint32_t)(b.index + b.count);
}

void ack(struct conn *conn, uint64_t id) {
    if (id <= conn->acked || id > conn->last_id)
        problem("ack %llu after %llu", (unsigned long long)id, (unsigned long long)conn->acked);
    conn->acked = id;
}

static void reconcile_place(const struct sub *sub) {
    const struct stream *stream = sub->stream;
    if (stream->stamps && stream->sent != sub->expected)
        problem("%s: %u sent, the last received was %lld", stream->name, stream->sent,
                (long long)sub->expected - 1);
    else if (!sub->ended)
        problem("%s: isLast never came", stream->name);
}

/* What is missing in the end is a problem. */
void reconcile(void) {
    for (int n = 0; n < conn_count; n++) {
        for (uint32_t at = 0; at < conns[n].sub_count; at++)
            reconcile_place(&conns[n].subs[at]);
        if (conns[n].acked != conns[n].last_id && options.protocol->turns &&
            conns[n].stream_count)
            problem("publisher %d: acknowledged %llu of %llu", n,
                    (unsigned long long)conns[n].acked, (unsigned long long)conns[n].last_id);
    }
}
