/* Sockets and WebSocket frames: level-triggered epoll, one read for each event. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

struct conn *conns;
int conn_count;
uint64_t arrived;
static int epoll = -1;

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void watch(int fd, uint32_t events, struct conn *conn) {
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) && errno == ENOENT)
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

void listen_to_input(void) {
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input);
}

void lost(struct conn *conn, const char *why) {
    if (conn->fd < 0)
        return;
    problem("connection %d lost: %s", (int)(conn - conns), why);
    close(conn->fd);
    conn->fd = -1;
}

static int connected(void) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (options.buffer)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &options.buffer, sizeof options.buffer);
    for (int tries = 0; connect(fd, (struct sockaddr *)&to, sizeof to); tries++) {
        if (tries == 50 || errno == ECONNREFUSED)
            return -1;
        usleep(20000); /* a full backlog */
    }
    return fd;
}

/* Ask for the upgrade; what follows the answer is the rest. */
static const char *shake_hands(struct conn *conn, const char *path) {
    char text[4096];
    const char *sub = options.protocol->subprotocol;
    int length = snprintf(text, sizeof text,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          "Sec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                          path, options.port, sub ? "Sec-WebSocket-Protocol: " : "",
                          sub ? sub : "", sub ? "\r\n" : "");
    if (write(conn->fd, text, (size_t)length) != length)
        return "no handshake";
    char *end = NULL;
    for (size_t used = 0; !end;) {
        ssize_t got = read(conn->fd, text + used, sizeof text - 1 - used);
        if (got <= 0)
            return "closed during the handshake";
        text[used += (size_t)got] = 0;
        if ((end = strstr(text, "\r\n\r\n")))
            keep(&conn->rest, end + 4, text + used);
    }
    *end = 0;
    if (strncmp(text, "HTTP/1.1 101", 12) || (sub && !strstr(text, sub)))
        return "the upgrade was refused";
    return NULL;
}

/* A connection over which `path` is asked to upgrade; NULL: none that does. */
static struct conn *new_conn(const char *path) {
    struct conn *conn = &conns[conn_count++];
    conn->fd = connected();
    if (conn->fd < 0) {
        problem("no connection: %s", strerror(errno));
        return conn;
    }
    const char *why = path ? shake_hands(conn, path) : NULL;
    if (why) {
        lost(conn, why);
        return conn;
    }
    fcntl(conn->fd, F_SETFL, O_NONBLOCK);
    watch(conn->fd, EPOLLIN, conn);
    return conn;
}

struct conn *open_reader(void) {
    if (!options.sse)
        return open_conn(options.path);
    struct conn *conn = new_conn(NULL);
    conn->events = conn->open = true;
    return conn;
}

struct conn *open_conn(const char *path) {
    struct conn *conn = new_conn(path);
    if (conn->fd < 0)
        return conn;
    const char *hello = options.protocol->hello;
    conn->open = !hello;
    if (hello)
        frame(conn, options.protocol->opcode, hello, strlen(hello));
    return conn;
}

/* Copy `length` bytes under a mask. */
static void mask(char *to, const char *from, size_t length, uint32_t key) {
    uint64_t wide = (uint64_t)key << 32 | key, word;
    size_t at = 0;
    for (; at + 8 <= length; at += 8) {
        memcpy(&word, from + at, 8);
        word ^= wide;
        memcpy(to + at, &word, 8);
    }
    for (; at < length; at++)
        to[at] = (char)(from[at] ^ (char)(wide >> (8 * (at & 7))));
}

void frame(struct conn *conn, int opcode, const char *payload, size_t length) {
    static uint32_t key = 2463534242u;
    key ^= key << 13, key ^= key >> 17, key ^= key << 5;
    unsigned char *to = (unsigned char *)more(&conn->out, length + 14);
    int at = 2, width = length < 126 ? 0 : length < 65536 ? 2 : 8;
    to[0] = (unsigned char)(0x80 | opcode);
    to[1] = (unsigned char)(0x80 | (width == 0 ? (int)length : width == 2 ? 126 : 127));
    while (width)
        to[at++] = (unsigned char)((uint64_t)length >> (8 * --width));
    memcpy(to + at, &key, 4);
    mask((char *)to + at + 4, payload, length, key);
    conn->out.used += (size_t)at + 4 + length;
}

void message(struct conn *conn, const struct bytes *payload) {
    frame(conn, options.protocol->opcode, payload->at, payload->used);
}

void flush(struct conn *conn) {
    size_t left = conn->out.used - conn->gone;
    if (conn->fd < 0 || !left)
        return;
    ssize_t taken = write(conn->fd, conn->out.at + conn->gone, left);
    if (taken < 0 && errno != EAGAIN) {
        lost(conn, strerror(errno));
        return;
    }
    if (taken > 0)
        conn->gone += (size_t)taken;
    bool blocked = conn->gone < conn->out.used;
    if (!blocked)
        conn->gone = conn->out.used = 0;
    if (blocked != conn->blocked)
        watch(conn->fd, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN, conn);
    conn->blocked = blocked;
}

/* Give a frame's payload to the protocol; an unfinished message is carried. */
static void payload(struct conn *conn, const char *at, size_t length, bool final) {
    if (!conn->carry.used) {
        size_t used = options.protocol->receive(conn, at, length, final);
        add(&conn->carry, at + used, length - used);
        return;
    }
    add(&conn->carry, at, length);
    size_t used = options.protocol->receive(conn, conn->carry.at, conn->carry.used, final);
    keep(&conn->carry, conn->carry.at + used, conn->carry.at + conn->carry.used);
}

static void control(struct conn *conn, int opcode, const char *at, size_t length) {
    char why[160];
    if (opcode == PING) {
        frame(conn, PONG, at, length);
        flush(conn);
    } else if (opcode == CLOSE) {
        int code = length < 2 ? 1005 : (unsigned char)at[0] << 8 | (unsigned char)at[1];
        int said = length < 2 ? 0 : (int)length - 2;
        snprintf(why, sizeof why, "closed with %d %.*s", code, said, at + 2);
        lost(conn, why);
    }
}

/* Handle the complete frames; where the first incomplete one begins. */
static const char *frames(struct conn *conn, const char *at, const char *end) {
    while (end - at >= 2 && conn->fd >= 0) {
        int first = (unsigned char)at[0], opcode = first & 15;
        uint64_t length = (unsigned char)at[1];
        int width = length < 126 ? 0 : length == 126 ? 2 : 8;
        if (length > 127 || first & 0x70) {
            lost(conn, "a server's frame is masked or uses an extension");
            break;
        }
        if (end - at < 2 + width)
            break;
        if (width)
            length = 0;
        for (int n = 0; n < width; n++)
            length = length << 8 | (unsigned char)at[2 + n];
        const char *from = at + 2 + width;
        if ((uint64_t)(end - from) < length)
            break;
        at = from + length;
        if (opcode >= CLOSE)
            control(conn, opcode, from, length);
        else
            payload(conn, from, length, first & 0x80);
    }
    return at;
}

static void receive(struct conn *conn) {
    static struct bytes in;
    keep(&in, conn->rest.at, conn->rest.at + conn->rest.used);
    more(&in, options.read);
    ssize_t got = read(conn->fd, in.at + in.used, options.read);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            lost(conn, got ? strerror(errno) : "end of stream");
        return;
    }
    arrived = now_ns();
    const char *end = in.at + in.used + got;
    keep(&conn->rest, (conn->events ? event_stream : frames)(conn, in.at, end), end);
}

int pump(int64_t wait_ns) {
    struct epoll_event events[256];
    int count, input = 0;
    if (wait_ns > 0) {
        struct pollfd ready = {.fd = epoll, .events = POLLIN};
        struct timespec time = {wait_ns / 1000000000, wait_ns % 1000000000};
        if (ppoll(&ready, 1, &time, NULL) <= 0)
            return 0;
    }
    count = epoll_wait(epoll, events, 256, 0);
    for (int n = 0; n < count; n++) {
        struct conn *conn = events[n].data.ptr;
        if (!conn)
            input = 1;
        else if (conn->fd >= 0 && events[n].events & EPOLLOUT)
            flush(conn);
        if (conn && conn->fd >= 0 && events[n].events & ~(uint32_t)EPOLLOUT)
            receive(conn);
    }
    return input;
}
