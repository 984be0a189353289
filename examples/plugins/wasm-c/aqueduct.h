// SDK for plug-ins of Aqueduct in C: the contract of WebAssembly modules in docs/plugins.md, without a library.
//
// Build a plug-in with
//   clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,--strip-all -o PLUGIN.wasm PLUGIN.c
//
// Each batch gets a new instance: nothing that a plug-in keeps in memory reaches the next batch. An event must not
// depend on other events of its batch, because an agent may cut batches in another way when it repeats them.

#ifndef AQUEDUCT_H
#define AQUEDUCT_H

typedef unsigned int u32;
typedef unsigned char u8;

#define AQUEDUCT_IMPORT(name) __attribute__((import_module("aqueduct"), import_name(#name)))
#define AQUEDUCT_EXPORT(name) __attribute__((export_name(#name)))

// Reads. They return the events as they were before the plug-in. A function with `max` copies what fits and returns the
// whole length.
AQUEDUCT_IMPORT(settings) u32 aq_settings(void *at, u32 max);
AQUEDUCT_IMPORT(body_len) u32 aq_body_len(u32 event);
AQUEDUCT_IMPORT(body) u32 aq_body(u32 event, u32 from, void *at, u32 max);
AQUEDUCT_IMPORT(header) int aq_header(u32 event, const char *name, u32 name_len, void *at, u32 max); // -1: none

// Columns. They copy whole values of up to `count` events end to end, with the end of each, and return their number.
#define AQ_ABSENT 0x80000000u // marks the end of a value that does not exist
AQUEDUCT_IMPORT(bodies) u32 aq_bodies(u32 first, u32 count, void *at, u32 max, u32 *ends);
AQUEDUCT_IMPORT(headers)
u32 aq_headers(const char *name, u32 name_len, u32 first, u32 count, void *at, u32 max, u32 *ends);

// Writes. They take effect together when the plug-in has returned the number of events.
AQUEDUCT_IMPORT(set_header)
void aq_set_header(u32 event, const char *name, u32 name_len, const void *value, u32 value_len);
AQUEDUCT_IMPORT(set_header_all) void aq_set_header_all(const char *name, u32 name_len, const void *value, u32 value_len);
AQUEDUCT_IMPORT(set_headers)
void aq_set_headers(const char *name, u32 name_len, u32 first, u32 count, const void *values, u32 values_len,
                    const u32 *ends);
AQUEDUCT_IMPORT(remove_header) void aq_remove_header(u32 event, const char *name, u32 name_len);
AQUEDUCT_IMPORT(set_body) void aq_set_body(u32 event, const void *body, u32 len);
AQUEDUCT_IMPORT(drop_event) void aq_drop_event(u32 event);
AQUEDUCT_IMPORT(refuse_event) void aq_refuse_event(u32 event, const char *why, u32 len);
AQUEDUCT_IMPORT(log) void aq_log(const char *line, u32 len);

// A literal text and its length, as two arguments.
#define AQ_TEXT(literal) literal, sizeof(literal) - 1

// Returns the version of the contract.
AQUEDUCT_EXPORT(aqueduct_abi) int aqueduct_abi(void) { return 1; }

// Implement this function: process a batch of `events`, and return their number, or -1 to fail the batch.
AQUEDUCT_EXPORT(aqueduct_intercept) int aqueduct_intercept(u32 events);

#endif
