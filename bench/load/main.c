/* The load generator: options on the standard input, `name value` a line, then steps.
 *
 *   the options, `open`     → connects;                          says `open`
 *   `subscribe`             → subscribes, and starts turns;      says `ready`
 *   `go NANOSECONDS`        → publishes from that time on, drains, and says what it found
 *   `stop`                  → says what it found */
#define _GNU_SOURCE
#include "load.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct options options = {
    .core = -1, .sessions = 1, .publishers = 1, .fan = 1, .batch = 1, .seconds = 5, .warmup = 1,
    .drain = 10, .read = 65536, .chunk = 16384, .prefix = "s", .subscribe = "each",
    .topic = "agent.chat.token", .watch_topic = "agent.chat.token", .watch_prefix = "s",
};

/* A line of the standard input, while the connections go on. */
static char *line(void) {
    static char text[256];
    size_t used = 0;
    while (used < sizeof text - 1) {
        while (conn_count && !pump(100000000))
            ;
        if (read(STDIN_FILENO, text + used, 1) != 1)
            exit(1);
        if (text[used] == '\n')
            break;
        used++;
    }
    text[used] = 0;
    return text;
}

static void set(const char *name, const char *value) {
    const struct { const char *name; int *to; } ints[] = {
        {"port", &options.port}, {"publishers", &options.publishers}, {"fan", &options.fan},
        {"batch", &options.batch}, {"rollup", &options.rollup}, {"buffer", &options.buffer},
        {"core", &options.core},
        {"sessions", (int *)&options.sessions}, {"watch", (int *)&options.watch},
        {"window", (int *)&options.window}};
    const struct { const char *name; double *to; } reals[] = {
        {"rate", &options.rate}, {"seconds", &options.seconds}, {"warmup", &options.warmup},
        {"drain", &options.drain}};
    const struct { const char *name; bool *to; } bools[] = {
        {"acks", &options.acks}, {"keyed", &options.keyed}, {"sse", &options.sse},
        {"turns", &options.turns}, {"yields", &options.yields}};
    const struct { const char *name; size_t *to; } sizes[] = {
        {"read", &options.read}, {"chunk", &options.chunk}};
    const struct { const char *name; char *to; size_t room; } texts[] = {
        {"path", options.path, sizeof options.path}, {"topic", options.topic, sizeof options.topic},
        {"prefix", options.prefix, sizeof options.prefix},
        {"watch_topic", options.watch_topic, sizeof options.watch_topic},
        {"watch_prefix", options.watch_prefix, sizeof options.watch_prefix},
        {"subscribe", options.subscribe, sizeof options.subscribe}};
#define EACH(table, how)                                          \
    for (size_t n = 0; n < sizeof table / sizeof *table; n++)     \
        if (!strcmp(name, table[n].name)) {                       \
            how;                                                  \
            return;                                               \
        }
    EACH(ints, *ints[n].to = atoi(value))
    EACH(reals, *reals[n].to = atof(value))
    EACH(bools, *bools[n].to = atoi(value) != 0)
    EACH(sizes, *sizes[n].to = (size_t)atol(value))
    EACH(texts, snprintf(texts[n].to, texts[n].room, "%s", value))
    if (!strcmp(name, "protocol") && (options.protocol = protocol_named(value)))
        return;
    fprintf(stderr, "no such option: %s %s\n", name, value);
    exit(2);
}

static void configure(void) {
    char *text, *gap;
    while (strcmp(text = line(), "open")) {
        if (!(gap = strchr(text, ' ')))
            exit(2);
        *gap = 0;
        set(text, gap + 1);
    }
    if (!options.path[0])
        snprintf(options.path, sizeof options.path, "%s", options.protocol->path);
}

static void step(const char *done) {
    printf("%s\n", done);
    fflush(stdout);
}

/* Go to the chosen core, with as many files as are allowed. Who yields runs when nobody else
 * wants to, and is interrupted at once: a nice level alone keeps the others waiting for ms. */
static void settle(void) {
    struct rlimit files;
    cpu_set_t cores;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    CPU_ZERO(&cores);
    CPU_SET((size_t)(options.core < 0 ? 0 : options.core), &cores);
    if (options.core >= 0)
        sched_setaffinity(0, sizeof cores, &cores);
    if (options.yields)
        sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
}

static void add_places(struct conn *conn, struct stream *streams, uint32_t count) {
    conn->subs = realloc(conn->subs, (conn->sub_count + count) * sizeof *conn->subs);
    for (uint32_t n = 0; n < count; n++)
        conn->subs[conn->sub_count++] = (struct sub){.stream = &streams[n]};
}

static bool all_open(void) {
    for (int n = 0; n < conn_count; n++)
        if (!conns[n].open && conns[n].fd >= 0)
            return false;
    return true;
}

static bool all_standing(void) {
    for (int n = 0; n < conn_count; n++)
        if (conns[n].standing < conns[n].sub_count && conns[n].fd >= 0)
            return false;
    return true;
}

static void await_step(bool (*done)(void), const char *what) {
    uint64_t end = now_ns() + (uint64_t)(options.drain * 1e9);
    while (!done() && now_ns() < end)
        pump(10000000);
    if (!done())
        problem("%s: not all in time", what);
}

static void open_all(void) {
    struct stream *own =
        new_streams(options.sessions, options.prefix, options.topic, options.publishers > 0);
    uint32_t count = options.sessions, step = (uint32_t)options.publishers;
    bool each = !strcmp(options.subscribe, "each"), one = !strcmp(options.subscribe, "one");
    conns = calloc((size_t)options.publishers + (each ? count * (uint32_t)options.fan : 1) + 1,
                   sizeof *conns);
    for (uint32_t n = 0; n < step; n++) {
        struct conn *conn = open_conn(options.path);
        conn->streams = own + n;
        conn->stride = step;
        conn->stream_count = (count - n + step - 1) / step;
    }
    for (uint32_t n = 0; each && n < count * (uint32_t)options.fan; n++)
        add_places(open_reader(), own + n % count, 1);
    if (one) {
        struct conn *conn = open_conn(options.path);
        add_places(conn, own, count);
        add_places(conn, new_streams(options.watch, options.watch_prefix, options.watch_topic, false),
                   options.watch);
    }
    for (int n = 0; n < conn_count; n++)
        flush(&conns[n]);
    await_step(all_open, "open");
}

static void subscribe_all(void) {
    for (int n = 0; n < conn_count; n++) {
        for (uint32_t at = 0; at < conns[n].sub_count; at++)
            (conns[n].events ? ask_for_events : options.protocol->subscribe)(
                &conns[n], conns[n].subs[at].stream);
        flush(&conns[n]);
    }
    await_step(all_standing, "subscribed");
    if (options.turns && options.protocol->turns)
        start_turns();
}

static void tell(void) {
    const struct histogram *latency = &account.latency, *lag = &account.lag;
    add(&account.problems, "", 1);
    printf("{\"problems\":[%s],\"sent\":%llu,\"received\":%llu,\"watched\":%llu,\"merged\":%llu,",
           account.problems.at, (unsigned long long)account.sent,
           (unsigned long long)account.received, (unsigned long long)account.watched,
           (unsigned long long)account.merged);
    printf("\"offered\":%.1f,\"delivered\":%.1f,\"watchedDelivered\":%.1f,",
           (double)account.window_sent / options.seconds,
           (double)account.window_received / options.seconds,
           (double)account.window_watched / options.seconds);
    printf("\"latency\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f},", percentile(latency, 0.5),
           percentile(latency, 0.99), (double)latency->highest);
    printf("\"lag\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}}\n", percentile(lag, 0.5),
           percentile(lag, 0.99), (double)lag->highest);
    fflush(stdout);
}

int main(void) {
    configure();
    settle();
    listen_to_input();
    open_all();
    step("open");
    for (char *text; (text = line()), strcmp(text, "stop");) {
        if (!strcmp(text, "subscribe")) {
            subscribe_all();
            step("ready");
        } else if (!strncmp(text, "go ", 3)) {
            if (!account.problem_count) {
                run(strtoull(text + 3, NULL, 10));
                end_streams();
                reconcile();
            }
            break;
        }
    }
    tell();
    return 0;
}
