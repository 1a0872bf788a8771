/* The generator's honesty check: about the least that can stand in for a broker.
 *
 * It knows the generator's own bytes, and passes the token on in a frame of its own; what one
 * read brought for a subscriber leaves in one write, or in pieces of PIECE bytes.
 *
 *   sink PORT [PIECE] */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ = 65536, FDS = 65536, SESSIONS = 10000, OUT = 1 << 20 };

struct conn {
    char *rest;
    size_t used, room;
    int open;
};

struct out {
    int fd, waits;
    size_t used;
    char *at;
};

static struct conn conns[FDS];
static struct out outs[SESSIONS];
static int waiting[SESSIONS], waiting_count, piece;

static void send_all(int fd, const char *at, size_t length) {
    while (length) {
        ssize_t sent = write(fd, at, piece && (size_t)piece < length ? (size_t)piece : length);
        if (sent <= 0)
            return; /* its end is seen by the read */
        at += sent;
        length -= (size_t)sent;
    }
}

static void flush(struct out *out) {
    send_all(out->fd, out->at, out->used);
    out->used = 0;
}

static size_t header(char *to, size_t length) {
    to[0] = (char)0x81;
    if (length < 126) {
        to[1] = (char)length;
        return 2;
    }
    to[1] = 126;
    to[2] = (char)(length >> 8);
    to[3] = (char)length;
    return 4;
}

static void answer(int fd, const char *op, const char *id) {
    char text[128], head[4];
    int length = snprintf(text, sizeof text, "{\"op\":\"%s\",\"id\":%d}", op, atoi(id));
    send_all(fd, head, header(head, (size_t)length));
    send_all(fd, text, (size_t)length);
}

/* Pass on the publish at `at`, whose body begins with the session; where it ends. */
static const char *token(const char *at, const char *end) {
    static const char PUBLISH[] = "{\"op\":\"publish\",", EVENT[] = "{\"op\":\"event\",";
    static const char NAME[] = "\"sessionId\":\"";
    const char *name = memmem(at, (size_t)(end - at), NAME, sizeof NAME - 1);
    const char *close = name ? memchr(name, '}', (size_t)(end - name)) : NULL;
    if (!close)
        return end;
    struct out *out = &outs[(unsigned)atoi(name + sizeof NAME) % SESSIONS];
    at += sizeof PUBLISH - 1;
    size_t rest = (size_t)(close + 2 - at);
    if (!out->at)
        return close + 2;
    if (out->used + rest + 64 > OUT)
        flush(out);
    out->used += header(out->at + out->used, rest + sizeof EVENT - 1);
    memcpy(out->at + out->used, EVENT, sizeof EVENT - 1);
    memcpy(out->at + out->used + sizeof EVENT - 1, at, rest);
    out->used += rest + sizeof EVENT - 1;
    if (!out->waits) {
        out->waits = 1;
        waiting[waiting_count++] = (int)(out - outs);
    }
    return close + 2;
}

static void message(int fd, const char *at, const char *end) {
    static const char SUBSCRIBE[] = "{\"op\":\"subscribe\",\"id\":", NUMBERED[] = "{\"op\":\"publish\",\"id\":";
    if (!strncmp(at, SUBSCRIBE, sizeof SUBSCRIBE - 1)) {
        const char *key = memmem(at, (size_t)(end - at), "\"key\":\"", 7);
        struct out *out = &outs[(unsigned)atoi(key + 8) % SESSIONS];
        out->fd = fd;
        out->at = malloc(OUT);
        answer(fd, "subscribed", at + sizeof SUBSCRIBE - 1);
    } else if (!strncmp(at, NUMBERED, sizeof NUMBERED - 1)) {
        answer(fd, "ack", at + sizeof NUMBERED - 1);
    } else {
        for (at += *at == '['; at < end - 1; at++)
            at = token(at, end);
    }
}

/* Unmask and handle the complete frames; where the first incomplete one begins. */
static char *frames(int fd, char *at, char *end) {
    while (end - at >= 14 || (end - at >= 6 && (at[1] & 127) < 126)) {
        uint64_t length = at[1] & 127, word, wide;
        char *from = at + 2;
        if (length >= 126) {
            int width = length == 126 ? 2 : 8;
            for (length = 0; width--;)
                length = length << 8 | (unsigned char)*from++;
        }
        uint32_t key;
        memcpy(&key, from, 4);
        from += 4;
        if ((uint64_t)(end - from) < length)
            break;
        wide = (uint64_t)key << 32 | key;
        for (size_t n = 0; n + 8 <= length; n += 8) {
            memcpy(&word, from + n, 8);
            word ^= wide;
            memcpy(from + n, &word, 8);
        }
        for (size_t n = length & ~7ULL; n < length; n++)
            from[n] ^= (char)(wide >> (8 * (n & 7)));
        if ((at[0] & 15) == 1)
            message(fd, from, from + length);
        at = from + length;
    }
    return at;
}

static void upgrade(int fd, struct conn *conn) {
    static const char ANSWER[] = /* the generator's key is the one of RFC 6455 */
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Protocol: edgestream.v1.json\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    send_all(fd, ANSWER, sizeof ANSWER - 1);
    conn->open = 1;
}

static void receive(int fd) {
    static char in[READ + (1 << 20)];
    struct conn *conn = &conns[fd];
    memcpy(in, conn->rest, conn->used);
    ssize_t got = read(fd, in + conn->used, READ);
    if (got <= 0) {
        close(fd);
        conn->used = 0;
        conn->open = 0;
        return;
    }
    char *end = in + conn->used + got, *at = in;
    if (conn->open)
        at = frames(fd, in, end);
    else if (end - in >= 4 && !memcmp(end - 4, "\r\n\r\n", 4)) {
        upgrade(fd, conn);
        at = end;
    }
    conn->used = (size_t)(end - at);
    if (conn->used > conn->room)
        conn->rest = realloc(conn->rest, conn->room = conn->used * 2);
    memcpy(conn->rest, at, conn->used);
    while (waiting_count) {
        struct out *out = &outs[waiting[--waiting_count]];
        out->waits = 0;
        flush(out);
    }
}

int main(int count, char **words) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    if (count < 2)
        return 2;
    piece = count > 2 ? atoi(words[2]) : 0;
    at.sin_port = htons((uint16_t)atoi(words[1]));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096))
        return 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int found = epoll_wait(epoll, ready, 256, -1);
        for (int n = 0; n < found; n++) {
            int fd = ready[n].data.fd;
            if (fd != listener) {
                receive(fd);
            } else if ((fd = accept(listener, NULL, NULL)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.data.fd = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
