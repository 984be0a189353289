// Reads a level from each line into the header `level`, and drops lines below `least`.

#include "aqueduct.h"

#define LINE_MAX 65536 // a level is searched in the first bytes of a line

static u8 line[LINE_MAX];
static char settings[4096];

static const char *const LEVELS[] = {"DEBUG", "INFO", "WARN", "ERROR"};
static const u32 LENGTHS[] = {5, 4, 4, 5};
enum { NUMBER = 4, INFO = 1 };

static int has(const u8 *text, u32 len, const char *word, u32 word_len) {
    for (u32 at = 0; at + word_len <= len; at++) {
        u32 same = 0;
        while (same < word_len && text[at + same] == (u8)word[same]) same++;
        if (same == word_len) return 1;
    }
    return 0;
}

static int level_of(const u8 *text, u32 len, int otherwise) {
    for (int level = 0; level < NUMBER; level++) {
        if (has(text, len, LEVELS[level], LENGTHS[level])) return level;
    }
    return otherwise;
}

int aqueduct_intercept(u32 events) {
    u32 len = aq_settings(settings, sizeof settings);
    if (len > sizeof settings) {
        aq_log(AQ_TEXT("the settings have more than 4,096 bytes"));
        return -1;
    }
    // `settings = { least = "INFO" }`
    int least = level_of((const u8 *)settings, len, 0);
    for (u32 event = 0; event < events; event++) {
        u32 bytes = aq_body(event, 0, line, LINE_MAX);
        int level = level_of(line, bytes < LINE_MAX ? bytes : LINE_MAX, INFO);
        aq_set_header(event, AQ_TEXT("level"), LEVELS[level], LENGTHS[level]);
        if (level < least) aq_drop_event(event);
    }
    return (int)events;
}
