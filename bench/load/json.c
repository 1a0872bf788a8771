/* As much JSON as the protocols need: one pass, no tree. */
#include "load.h"

static const char *space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

/* Past the string at `at`, whose content is `found`, escapes as they are; NULL: none is there. */
static const char *string(const char *at, const char *end, struct span *found) {
    if (at == end || *at != '"')
        return NULL;
    const char *start = ++at;
    for (; at < end && *at != '"'; at++)
        if (*at == '\\')
            at++;
    if (at >= end)
        return NULL;
    *found = (struct span){start, (size_t)(at - start)};
    return at + 1;
}

/* Past the value at `at`, whatever it is. */
static const char *value(const char *at, const char *end) {
    struct span ignored;
    int depth = 0;
    do {
        if (at == end)
            return NULL;
        if (*at == '"') {
            if (!(at = string(at, end, &ignored)))
                return NULL;
            continue;
        }
        if (*at == '{' || *at == '[')
            depth++;
        else if (*at == '}' || *at == ']')
            depth--;
        at++;
    } while (depth > 0);
    if (at[-1] == '"' || at[-1] == '}' || at[-1] == ']')
        return at;
    while (at < end && *at != ',' && *at != '}' && *at != ']' && *at != ' ')
        at++;
    return at;
}

/* The next name of an object, at whose value `at` is left; NULL at its end, with `at` past it,
 * or where it is none, with `at` NULL. `at` is past the brace or the last value. */
static const char *member(const char **at, const char *end, struct span *name) {
    const char *here = space(*at, end);
    if (here < end && *here == '}') {
        *at = here + 1;
        return NULL;
    }
    if (here < end && *here == ',')
        here = space(here + 1, end);
    *at = NULL;
    if (!(here = string(here, end, name)))
        return NULL;
    here = space(here, end);
    if (here == end || *here != ':')
        return NULL;
    return *at = space(here + 1, end);
}

static int64_t number(const char *at, const char *end) {
    int64_t found = 0;
    bool negative = at < end && *at == '-';
    for (at += negative; at < end && *at >= '0' && *at <= '9'; at++)
        found = found * 10 + (*at - '0');
    return negative ? -found : found;
}

bool parse_body(const char *at, const char *end, struct body *body) {
    struct span name;
    const char *found;
    *body = (struct body){.index = -1, .count = 1};
    if ((at = space(at, end)) == end || *at++ != '{')
        return false;
    while ((found = member(&at, end, &name))) {
        struct span text = {0};
        if (*found == '"')
            at = string(found, end, &text);
        else
            at = value(found, end);
        if (!at)
            return false;
        if (equal(name, "sessionId"))
            body->session = text;
        else if (equal(name, "token"))
            body->token = text;
        else if (equal(name, "tokenIndex"))
            body->index = number(found, end);
        else if (equal(name, "tokenCount"))
            body->count = number(found, end);
        else if (equal(name, "isLast"))
            body->last = *found == 't';
    }
    return at != NULL;
}

struct envelope {
    struct span op, topic, key, code, message, body;
    uint64_t id;
    struct sub *same; /* the place whose next token the body is, exactly as it was sent */
};

static const char *field(struct conn *conn, struct envelope *e, struct span name,
                         const char *at, const char *end) {
    struct span ignored, *text = &ignored;
    if (equal(name, "body")) {
        size_t same = same_as_sent(conn, at, end, &e->same);
        const char *past = same ? at + same : value(at, end);
        if (past)
            e->body = (struct span){at, (size_t)(past - at)};
        return past;
    }
    if (equal(name, "id")) {
        e->id = (uint64_t)number(at, end);
        return value(at, end);
    }
    if (equal(name, "op"))
        text = &e->op;
    else if (equal(name, "topic"))
        text = &e->topic;
    else if (equal(name, "key"))
        text = &e->key;
    else if (equal(name, "code"))
        text = &e->code;
    else if (equal(name, "message"))
        text = &e->message;
    return at < end && *at == '"' ? string(at, end, text) : value(at, end);
}

static void handle(struct conn *conn, const struct envelope *e) {
    if (equal(e->op, "event")) {
        if (e->same && equal(e->topic, e->same->stream->topic) &&
            (!e->key.at || equal(e->key, e->same->stream->name)))
            take_next(e->same);
        else
            take(conn, e->body.at, e->body.at + e->body.length, e->topic, e->key);
    } else if (equal(e->op, "ack")) {
        ack(conn, e->id);
    } else if (equal(e->op, "subscribed")) {
        conn->standing++;
    } else if (equal(e->op, "error") || equal(e->op, "dropped") || equal(e->op, "goodbye")) {
        problem("%.*s %.*s: %.*s", (int)e->op.length, e->op.at, (int)e->code.length, e->code.at,
                (int)e->message.length, e->message.at);
    }
}

const char *object(struct conn *conn, const char *at, const char *end, const char *op) {
    struct envelope e = {.op = {op, strlen(op)}};
    struct span name;
    const char *found;
    if ((at = space(at, end)) == end || *at++ != '{')
        return NULL;
    while ((found = member(&at, end, &name)))
        if (!(at = field(conn, &e, name, found, end)))
            return NULL;
    if (at)
        handle(conn, &e);
    return at;
}

size_t documents(struct conn *conn, const char *from, size_t length, const char *op) {
    const char *end = from + length, *at = space(from, end);
    bool many = at < end && *at == '[';
    if (many)
        at = space(at + 1, end);
    while (at && at < end && *at != ']') {
        at = object(conn, at, end, op);
        if (!at || (at = space(at, end)) == end || *at != ',')
            break;
        at++;
    }
    if (!at || at + many != end)
        problem("not understood: %.*s", length > 200 ? 200 : (int)length, from);
    return length;
}
