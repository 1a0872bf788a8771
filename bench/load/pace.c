/* Publishing: on time, or as fast as the sockets take it. */
#include "load.h"

enum {
    BURST = 32,    /* tokens sent between two looks at the sockets */
    NAP = 100000,  /* the shortest sleep, so how finely a load is paced, in ns */
    CHUNKS = 4     /* publishers that a flood serves between two looks */
};

static struct conn *publishers; /* in front of all other connections */

/* The publisher's next message: `batch` tokens of its streams in turn. */
static void publish(struct conn *conn, int tokens, bool last, uint64_t now) {
    static struct bytes text;
    const struct protocol *p = options.protocol;
    const char *const *around = options.batch > 1 ? p->many : p->one;
    text.used = 0;
    say(&text, around[0]);
    for (int n = 0; n < tokens; n++) {
        struct stream *stream = &conn->streams[conn->turn * conn->stride];
        conn->turn = conn->turn + 1 < conn->stream_count ? conn->turn + 1 : 0;
        if (n)
            say(&text, p->between);
        p->publish(&text, conn, stream, last);
        published(stream, last, now);
    }
    say(&text, around[1]);
    message(conn, &text);
}

/* How many more tokens the publisher may have under way. */
static uint32_t room(const struct conn *conn) {
    uint32_t under_way = 0;
    if (!options.window)
        return UINT32_MAX;
    for (uint32_t at = 0; at < conn->stream_count; at++) {
        const struct stream *stream = &conn->streams[at * conn->stride];
        under_way += stream->sent - stream->came / (uint32_t)options.fan;
    }
    return under_way < options.window ? options.window - under_way : 0;
}

/* Fill the publisher up to a chunk or to its window, and hand it to the socket. */
static bool fill(struct conn *conn) {
    uint64_t now = now_ns();
    uint32_t tokens = (uint32_t)options.batch, left = room(conn);
    bool any = left >= tokens;
    for (; left >= tokens && conn->out.used - conn->gone < options.chunk; left -= tokens)
        publish(conn, options.batch, false, now);
    flush(conn);
    return any;
}

static int64_t flood(void) {
    static int next;
    int served = 0;
    for (int tries = 0; tries < options.publishers && served < CHUNKS; tries++) {
        struct conn *conn = &publishers[next];
        next = next + 1 < options.publishers ? next + 1 : 0;
        served += conn->fd >= 0 && !conn->blocked && fill(conn);
    }
    return served ? 0 : 1000000;
}

/* Send what is due; how long until the next is. */
static int64_t paced(uint64_t start, uint64_t now) {
    static uint64_t done;
    double each = 1e9 * options.batch / (options.sessions * options.rate);
    uint64_t due = (uint64_t)((double)(now - start) / each), stop = done + BURST / (unsigned)options.batch + 1;
    for (; done < due && done < stop; done++) {
        struct conn *conn = &publishers[done % (unsigned)options.publishers];
        now = now_ns();
        if (now >= account.opens && now < account.closes)
            record(&account.lag, (now - start - (uint64_t)((double)(done + 1) * each)) / 1000, 1);
        if (conn->fd < 0)
            continue;
        publish(conn, options.batch, false, now);
        flush(conn);
    }
    if (done < due)
        return 0;
    int64_t wait = (int64_t)((double)(done + 1) * each) - (int64_t)(now_ns() - start);
    return wait > NAP ? wait : NAP;
}

void run(uint64_t start) {
    uint64_t now;
    publishers = conns;
    account.opens = start + (uint64_t)(options.warmup * 1e9);
    account.closes = account.opens + (uint64_t)(options.seconds * 1e9);
    while ((now = now_ns()) < account.closes) {
        int64_t wait = 1000000;
        if (now < start)
            wait = (int64_t)(start - now);
        else if (options.publishers)
            wait = options.rate > 0 ? paced(start, now) : flood();
        pump(wait);
    }
}

/* Wait until `done`, or until nothing has moved for the drain time. */
static void await(bool (*done)(void)) {
    uint64_t moved = now_ns(), seen = 0;
    while (!done()) {
        uint64_t sum = account.received + account.watched + account.ended;
        for (int n = 0; n < conn_count; n++)
            sum += conns[n].acked + conns[n].out.used - conns[n].gone;
        if (sum != seen) {
            seen = sum;
            moved = now_ns();
        } else if ((double)(now_ns() - moved) > options.drain * 1e9) {
            return;
        }
        pump(10000000);
    }
}

static bool all_acked(void) {
    for (int n = 0; n < options.publishers; n++)
        if (conns[n].acked < conns[n].last_id && conns[n].fd >= 0)
            return false;
    return true;
}

static bool all_ended(void) {
    uint64_t wanted = 0;
    for (int n = 0; n < conn_count; n++) {
        wanted += conns[n].sub_count;
        if (conns[n].out.used && conns[n].fd >= 0)
            return false;
    }
    return account.ended >= wanted && (!options.protocol->turns || all_acked());
}

void start_turns(void) {
    static struct bytes text;
    for (int n = 0; n < options.publishers; n++) {
        struct conn *conn = &conns[n];
        for (uint32_t at = 0; at < conn->stream_count; at++) {
            struct stream *stream = &conn->streams[at * conn->stride];
            text.used = 0;
            say(&text, "{\"op\":\"publish\",\"id\":");
            say_number(&text, ++conn->last_id);
            say(&text, ",\"topic\":\"agent.chat.turnStarted\",\"body\":");
            add(&text, stream->body.at, stream->body.used - strlen(",\"token\":\""));
            say(&text, "}}");
            message(conn, &text);
        }
        flush(conn);
    }
    await(all_acked);
}

/* The last token of each stream, and all that is still on its way. */
void end_streams(void) {
    options.batch = 1;
    /* Who reads nothing that it says closes at once, and must know that it was taken. */
    if (options.turns && options.protocol->turns && strcmp(options.subscribe, "each") &&
        strcmp(options.subscribe, "one"))
        options.acks = true;
    for (int n = 0; n < options.publishers; n++) {
        for (uint32_t at = 0; at < conns[n].stream_count; at++)
            publish(&conns[n], 1, true, now_ns());
        flush(&conns[n]);
    }
    await(all_ended);
}
