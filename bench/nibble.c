/* nibble DEVICE FLOWS RATE SECONDS: peers of a server that shrink their windows to 0.
   DEVICE is a TUN device whose address is 10.9.0.1/16; the server listens there, in here as well.
   The first peer acknowledges nothing any more. The others take in, shrink, and then acknowledge
   segment by segment, which are small: each time the server sends the next one again, so RATE times
   a second all together. Is there nothing left, they open their windows, and so on. With RATE 0
   all do as the first one.
   Prints "shut" and the moment (CLOCK_MONOTONIC) once the first has data in flight that its window
   does not allow; in the end (SIGTERM is one) how often the server has sent again, in how many
   seconds.
   RFC 9293 tells of segments. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVER 0x0a090001u
#define PORT 8080
#define FIRST 0x0a090101u /* 10.9.1.1 */
#define OPEN 60000
#define GROWN 30000 /* bytes after which as much as FLIGHT may be under way */
#define FLIGHT 10000
#define LEAST 4000
#define SIZE 100 /* bytes of a segment */
#define MOST 1024
#define SYN 2
#define PSH 8
#define ACK 16

enum phase { AWAY, TAKING, HOLDING, SHUT };

static struct flow {
    uint32_t sequence, acknowledged, received, taken;
    enum phase phase;
    int again;
    double since;
} flows[MOST];

static int device, rate;
static unsigned long again;
static double shut;
static volatile sig_atomic_t stopped;
static char piece[1 << 16];

static void stop(int number) {
    stopped = number;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static uint32_t sum(const uint8_t *data, int length, uint32_t total) {
    for (int at = 0; at < length; at += 2) total += data[at] << 8 | data[at + 1];
    return total;
}

static uint16_t folded(uint32_t total) {
    while (total >> 16) total = (total & 0xffff) + (total >> 16);
    return htons(~total);
}

/* Send a segment of a peer: with PSH two bytes of data, else none. */
static void say(struct flow *flow, int flags, int window) {
    int data = flags & PSH ? 2 : 0, tcp = 20 + (flags & SYN ? 4 : 0) + data;
    uint8_t packet[64] = {0x45, 0, 0, 20 + tcp, 0, 0, 0x40, 0, 64, 6}, *segment = packet + 20;
    uint32_t peer = htonl(FIRST + (flow - flows)), server = htonl(SERVER);
    memcpy(packet + 12, &peer, 4);
    memcpy(packet + 16, &server, 4);
    uint16_t check = folded(sum(packet, 20, 0));
    memcpy(packet + 10, &check, 2);
    uint16_t ports[2] = {htons(4638), htons(PORT)}, told = htons(window);
    uint32_t numbers[2] = {htonl(flow->sequence), htonl(flow->acknowledged)};
    memcpy(segment, ports, 4);
    memcpy(segment + 4, numbers, 8);
    segment[12] = (tcp - data) / 4 << 4;
    segment[13] = flags;
    memcpy(segment + 14, &told, 2);
    if (flags & SYN) memcpy(segment + 20, "\x02\x04\0", 3), segment[23] = SIZE;
    check = folded(sum(segment, tcp, sum(packet + 12, 8, 6 + tcp)));
    memcpy(segment + 16, &check, 2);
    if (write(device, packet, 20 + tcp) < 0) perror("write");
}

static int is_plain(const struct flow *flow) {
    return flow == flows || !rate;
}

static void enter(struct flow *flow, enum phase phase) {
    flow->phase = phase;
    flow->since = now();
    flow->taken = flow->again = 0;
    if (phase == SHUT) say(flow, ACK, 0);
    if (phase == SHUT && flow == flows && !shut) {
        shut = now();
        printf("shut %.6f\n", shut);
        fflush(stdout);
    }
}

/* Take a segment with data. */
static void take(struct flow *flow, uint32_t sequence, uint32_t size) {
    uint32_t end = sequence + size;
    if (flow->phase == SHUT) {
        again++;
        flow->again = 1;
        if (is_plain(flow)) say(flow, ACK, 0);
        return;
    }
    if ((int32_t)(end - flow->received) > 0) flow->received = end;
    if (flow->phase == TAKING) {
        flow->taken += size;
        if (flow->taken < GROWN) {
            flow->acknowledged = flow->received;
            say(flow, ACK, OPEN);
        } else
            enter(flow, HOLDING);
    } else if (flow->received - flow->acknowledged >= FLIGHT)
        enter(flow, SHUT);
}

/* Read a packet of the server. */
static void hear(const uint8_t *packet, int length) {
    uint32_t peer, sequence;
    if (length < 40 || packet[0] != 0x45 || packet[9] != 6) return;
    memcpy(&peer, packet + 16, 4);
    memcpy(&sequence, packet + 24, 4);
    uint32_t index = ntohl(peer) - FIRST;
    int flags = packet[33], size = length - 20 - (packet[32] >> 4) * 4;
    if (index >= MOST) return;
    struct flow *flow = &flows[index];
    sequence = ntohl(sequence);
    if (flags & SYN) {
        if (flow->phase == AWAY) flow->sequence++;
        flow->acknowledged = flow->received = sequence + 1;
        say(flow, ACK | PSH, OPEN);
        flow->sequence += 2;
        enter(flow, TAKING);
    } else if (size > 0 && flow->phase != AWAY)
        take(flow, sequence, size);
}

/* Let one more peer acknowledge a segment, of those that can; return whether one could. */
static int nibble(int count) {
    static int turn;
    for (int tried = 1; tried < count; tried++) {
        struct flow *flow = &flows[1 + turn++ % (count - 1)];
        if (flow->phase != SHUT || !flow->again) continue;
        flow->acknowledged += SIZE;
        flow->again = 0;
        if ((int32_t)(flow->received - flow->acknowledged) > 0)
            say(flow, ACK, 0);
        else {
            flow->acknowledged = flow->received;
            say(flow, ACK, OPEN);
            enter(flow, TAKING);
        }
        return 1;
    }
    return 0;
}

/* Let those go on that wait for something: to be heard, or for more than there is. */
static void nudge(int count) {
    for (struct flow *flow = flows; flow < flows + count; flow++) {
        if (flow->phase == AWAY) {
            flow->sequence = 1000;
            say(flow, SYN, OPEN);
        } else if (flow->phase != SHUT && now() > flow->since + 0.2) {
            if (flow->phase == HOLDING && flow->received - flow->acknowledged >= LEAST)
                enter(flow, SHUT);
            else if (flow->phase == HOLDING) {
                flow->acknowledged = flow->received;
                say(flow, ACK, OPEN);
                enter(flow, TAKING);
            }
        }
    }
}

static int listening(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int one = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(one, (struct sockaddr *)&here, sizeof here) || listen(one, MOST)) exit(2);
    return one;
}

/* Take those in who have connected, and send to all as much as they take. */
static void serve(int listener) {
    static int served[MOST], many;
    for (int one; many < MOST && (one = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;)
        served[many++] = one;
    for (int each = 0; each < many; each++) send(served[each], piece, sizeof piece, MSG_NOSIGNAL);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    struct rlimit most;
    int count = atoi(argv[2]), listener = listening();
    double end = atof(argv[4]), begun = now(), nudged = 0, due = 0;
    rate = atoi(argv[3]);
    if (count < 1 || count > MOST) return 2;
    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
    strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
    device = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (device < 0 || ioctl(device, TUNSETIFF, &request)) {
        perror("tun");
        return 1;
    }
    signal(SIGTERM, stop);
    while (!stopped && (!shut || now() < shut + end)) {
        struct pollfd both[2] = {{device, POLLIN, 0}, {listener, POLLIN, 0}};
        poll(both, 2, 1);
        uint8_t packet[2048];
        for (int length; (length = read(device, packet, sizeof packet)) > 0;) hear(packet, length);
        if (now() > nudged + 0.05) {
            nudged = now();
            nudge(count);
            serve(listener);
            if (!shut && nudged > begun + 30) return 3;
        }
        double time = now();
        for (due = due < time - 0.1 ? time - 0.1 : due; rate && due < time; due += 1.0 / rate)
            if (!nibble(count)) break;
    }
    printf("%lu %.3f\n", again, now() - shut);
    return 0;
}
