/* The generator: connections, streams, and the account of every token.
 *
 * A process publishes one group of streams ("sessions"), subscribes to them, or both, and may
 * watch the streams of another process. Python tells it what to do (main.c) and gets JSON. */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* Bytes that grow. */
struct bytes {
    char *at;
    size_t used, room;
};

char *more(struct bytes *b, size_t count);                      /* room for so many, at the end */
void add(struct bytes *b, const void *from, size_t count);
void say(struct bytes *b, const char *text);
void say_number(struct bytes *b, uint64_t number);
void keep(struct bytes *b, const char *from, const char *end);  /* only these, be they its own */

/* A part of somebody else's bytes. */
struct span {
    const char *at;
    size_t length;
};

static inline bool equal(struct span a, const char *text) {
    return a.length == strlen(text) && !memcmp(a.at, text, a.length);
}

/* One session, with the parts of its messages that do not change. */
struct stream {
    char name[16];
    const char *topic;
    struct bytes before; /* a publish up to its body */
    struct bytes body;   /* a body up to the token's text */
    uint32_t sent, came; /* tokens handed over, and those that its own subscribers got */
    uint32_t *stamps; /* when each token was published, in µs; NULL: published elsewhere */
    size_t room;
};

/* A connection's place in a stream. */
struct sub {
    struct stream *stream;
    uint32_t expected; /* the index of the next token */
    bool ended;
};

struct conn {
    int fd;
    bool open, blocked;
    bool events, headed; /* an event stream, and its response's head has come */
    size_t chunk;        /* how much of the response's chunk is to come */
    struct bytes out;  /* from `gone` on: not taken by the socket yet */
    size_t gone;
    struct bytes rest;  /* an incomplete frame */
    struct bytes carry; /* an incomplete message */
    struct sub *subs;   /* own streams and then watched ones */
    uint32_t sub_count, standing;
    struct stream *streams; /* what it publishes, `stride` apart */
    uint32_t stream_count, stride, turn;
    uint64_t last_id, acked;
};

/* What is read of a token's body. */
struct body {
    struct span session, token;
    int64_t index, count;
    bool last;
};

/* What differs between the systems' protocols: one entry each in protocols.c. */
struct protocol {
    const char *name, *path, *subprotocol;
    int opcode;
    bool turns;        /* turnStarted and acks, as edgestream has them */
    const char *hello; /* sent first; NULL: nothing, and the connection is open at once */
    const char *one[2], *many[2], *between; /* around one publish, around several */
    void (*before)(struct bytes *out, const struct stream *stream);
    void (*publish)(struct bytes *out, struct conn *conn, struct stream *stream, bool last);
    void (*subscribe)(struct conn *conn, const struct stream *stream);
    size_t (*receive)(struct conn *conn, const char *from, size_t length, bool final);
};

struct options {
    int port, publishers, fan, batch, rollup, buffer, core;
    uint32_t sessions, watch, window;
    double rate, seconds, warmup, drain;
    bool acks, keyed, sse, turns, yields;
    size_t read, chunk;
    char path[64], topic[64], prefix[4], watch_topic[64], watch_prefix[4], subscribe[8];
    const struct protocol *protocol;
};

/* Log-linear: each power of two in 128 parts, so within 0.8 %. */
struct histogram {
    uint64_t counts[128 * 34], total, highest;
};

void record(struct histogram *h, uint64_t value, uint64_t times);
double percentile(const struct histogram *h, double part);

struct account {
    uint64_t sent, received, watched, merged, problem_count;
    struct bytes problems; /* as JSON strings */
    struct histogram latency, lag; /* µs, within the window */
    uint64_t opens, closes;        /* the window, in ns */
    uint64_t window_sent, window_received, window_watched;
    uint64_t ended; /* subscriptions whose last token has come */
};

extern struct options options;
extern struct account account;
extern struct conn *conns;
extern int conn_count;

extern uint64_t arrived; /* when the bytes that are being looked at were read */

uint64_t now_ns(void);

/* wire.c: sockets and frames */
void listen_to_input(void);
struct conn *open_conn(const char *path);
struct conn *open_reader(void); /* of its subscriptions, as `sse` says */
void frame(struct conn *conn, int opcode, const char *payload, size_t length);
void message(struct conn *conn, const struct bytes *payload);
void flush(struct conn *conn);
void lost(struct conn *conn, const char *why);
int pump(int64_t wait_ns); /* wait, read and write; whether the standard input can be read */

/* sse.c */
void ask_for_events(struct conn *conn, const struct stream *stream);
const char *event_stream(struct conn *conn, const char *at, const char *end);

/* json.c */
const char *object(struct conn *conn, const char *at, const char *end, const char *op);
size_t documents(struct conn *conn, const char *from, size_t length, const char *op);
bool parse_body(const char *at, const char *end, struct body *body);

/* ledger.c */
void problem(const char *format, ...);
struct stream *new_streams(uint32_t count, const char *prefix, const char *topic, bool own);
void write_body(struct bytes *out, struct stream *stream, bool last);
void published(struct stream *stream, bool last, uint64_t now);
size_t same_as_sent(struct conn *conn, const char *at, const char *end, struct sub **sub);
void take_next(struct sub *sub);
void take(struct conn *conn, const char *at, const char *end, struct span topic, struct span key);
void ack(struct conn *conn, uint64_t id);
void reconcile(void);

/* protocols.c */
const struct protocol *protocol_named(const char *name);

/* pace.c */
void start_turns(void);
void run(uint64_t start);
void end_streams(void);

#endif
