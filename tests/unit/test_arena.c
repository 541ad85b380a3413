/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

static struct pj_arena *arena;

static void set_up(void)
{
    arena = pj_arena_new();
}

static void tear_down(void)
{
    pj_arena_free(arena);
}

TestSuite(arena, .init = set_up, .fini = tear_down);

static int is_zero(const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != 0)
            return 0;
    }
    return 1;
}

Test(arena, memory_is_zeroed_and_aligned_also_after_a_reset)
{
    for (int round = 0; round < 3; round++) {
        for (size_t size = 0; size < 3000; size += 7) {
            unsigned char *data = pj_arena_alloc(arena, size);
            cr_assert_eq((uintptr_t)data % _Alignof(max_align_t), 0);
            cr_assert(is_zero(data, size), "round %d, size %zu", round, size);
            memset(data, 0xff, size);
        }
        pj_arena_reset(arena);
    }
}

Test(arena, allocations_do_not_overlap)
{
    enum { COUNT = 3000 };
    static unsigned char *blocks[COUNT];
    static const size_t sizes[] = {1, 16, 100, 5000, 70000, 300000, 2000000};
    /* Large ones stay rare, but come between small ones. */
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = sizes[i % 500 == 0 ? i / 500 + 1 : i % 3];
        blocks[i] = pj_arena_alloc(arena, size);
        memset(blocks[i], (int)(i % 251), size);
    }
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = sizes[i % 500 == 0 ? i / 500 + 1 : i % 3];
        for (size_t j = 0; j < size; j++)
            cr_assert_eq(blocks[i][j], i % 251, "block %zu was overwritten", i);
    }
}

Test(arena, nothing_has_an_address_of_its_own)
{
    char *first = pj_arena_alloc(arena, 0);
    char *second = pj_arena_alloc(arena, 0);
    cr_assert_not_null(first);
    cr_assert_neq(first, second);
    cr_assert_not_null(pj_arena_copy(arena, NULL, 0));
    cr_assert_str_eq(pj_arena_string(arena, NULL, 0), "");
}

Test(arena, copies)
{
    char text[] = "safari.commands";
    char *copy = pj_arena_copy(arena, text, sizeof text);
    char *string = pj_arena_string(arena, text, 6);
    text[0] = 'X';
    cr_assert_str_eq(copy, "safari.commands");
    cr_assert_str_eq(string, "safari");
}

Test(arena, printf_has_no_bound)
{
    char *text = pj_arena_printf(arena, "%s-%d", "batch", 7);
    cr_assert_str_eq(text, "batch-7");
    text = pj_arena_printf(arena, "%0100000d", 1);
    cr_assert_eq(strlen(text), 100000);
    cr_assert_eq(text[99999], '1');
}

Test(arena, used_bounds_the_memory_of_a_batch)
{
    cr_assert_eq(pj_arena_used(arena), 0);
    (void)pj_arena_alloc(arena, 1000);
    cr_assert_geq(pj_arena_used(arena), 1000);
    cr_assert_leq(pj_arena_used(arena), 1100);
    (void)pj_arena_alloc(arena, 5000000);
    cr_assert_geq(pj_arena_used(arena), 5001000);
    pj_arena_reset(arena);
    cr_assert_eq(pj_arena_used(arena), 0);
}

Test(arena, what_is_cut_is_given_again)
{
    char *first = pj_arena_alloc(arena, 1000);
    size_t before = pj_arena_used(arena);
    memset(first, 'a', 1000);
    pj_arena_cut(arena, first, 1000, 33);
    cr_assert_lt(pj_arena_used(arena), before - 900);
    char *second = pj_arena_alloc(arena, 1000);
    cr_assert_lt(second, first + 100);
    cr_assert_geq(second, first + 33);
    cr_assert_eq(first[32], 'a');
    cr_assert_eq(second[0], 0);
}

Test(arena, only_the_last_can_be_cut)
{
    char *first = pj_arena_alloc(arena, 1000);
    char *second = pj_arena_alloc(arena, 16);
    size_t used = pj_arena_used(arena);
    pj_arena_cut(arena, first, 1000, 10);
    cr_assert_eq(pj_arena_used(arena), used);
    memset(first, 'a', 1000);
    cr_assert_eq(second[0], 0);
    char *large = pj_arena_alloc(arena, 5000000); /* a chunk of its own */
    used = pj_arena_used(arena);
    pj_arena_cut(arena, large, 5000000, 10);
    cr_assert_leq(pj_arena_used(arena), used);
    memset(second, 'b', 16);
    cr_assert_eq(first[999], 'a');
}

Test(arena, a_reset_uses_the_same_memory_again)
{
    void *before = pj_arena_alloc(arena, 100);
    pj_arena_reset(arena);
    cr_assert_eq(pj_arena_alloc(arena, 100), before);
}

Test(arena, a_part_goes_before_the_rest)
{
    char *whole = pj_arena_string(arena, "whole", 5);
    struct pj_arena *one = pj_arena_part(arena);
    struct pj_arena *other = pj_arena_part(arena);
    char *kept = pj_arena_string(other, "other", 5);
    size_t used = pj_arena_used(arena);
    for (int i = 0; i < 1000; i++)
        memset(pj_arena_alloc(one, 1000), 'x', 1000);
    (void)pj_arena_alloc(one, 5000000); /* a chunk of its own */
    cr_assert_eq(pj_arena_used(arena), used);
    pj_arena_reset(one);
    cr_assert_eq(pj_arena_used(one), 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(*(char *)pj_arena_alloc(one, 1000), 0);
    cr_assert_str_eq(whole, "whole");
    cr_assert_str_eq(kept, "other");
}

Test(arena, the_rest_uses_what_a_part_gave_back)
{
    struct pj_arena *part = pj_arena_part(arena);
    void *before = pj_arena_alloc(part, 60000);
    pj_arena_reset(part);
    void *first = pj_arena_alloc(arena, 60000);
    void *second = pj_arena_alloc(arena, 60000);
    cr_assert(first == before || second == before);
}

Test(arena, parts_end_with_the_whole)
{
    for (int i = 0; i < 3; i++) {
        struct pj_arena *part = pj_arena_part(arena);
        for (int j = 0; j < 100; j++)
            (void)pj_arena_alloc(part, 10000);
        (void)pj_arena_alloc(part, 5000000);
        pj_arena_reset(arena);
    }
    (void)pj_arena_alloc(pj_arena_part(arena), 10000); /* and by its end */
}

Test(arena, freeing_nothing_is_allowed)
{
    pj_arena_free(NULL);
}

#if defined(__SANITIZE_ADDRESS__)
Test(arena, touching_a_past_batch_is_caught)
{
    char *data = pj_arena_alloc(arena, 100);
    cr_assert_not(__asan_address_is_poisoned(data + 99));
    cr_assert(__asan_address_is_poisoned(data + 100), "one beyond the end");
    pj_arena_reset(arena);
    cr_assert(__asan_address_is_poisoned(data));
}
#endif
