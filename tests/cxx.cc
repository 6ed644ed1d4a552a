// cxx.cc: C++ programs: every form of new and delete, bad_alloc and new_handler, and containers
// across threads.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <string>
#include <thread>
#include <vector>
#include "tests/under.h"

// An over-aligned type: new takes an alignment.
struct alignas(256) Wide { char c[300]; };

// Too large for any machine; the compiler must not know.
static volatile std::size_t too_much = PTRDIFF_MAX - 4096;

static int aligned(const void *p, std::size_t to)
{
    return reinterpret_cast<std::uintptr_t>(p) % to == 0;
}

static void test_plain_forms()
{
    int bad = 0;
    for (std::size_t n = 0; n < 5000; n = n * 5 / 4 + 1) {
        void *p = ::operator new(n), *q = ::operator new[](n);
        bad += !p || !q || p == q;
        std::memset(p, 1, n);
        std::memset(q, 2, n);
        ::operator delete(p);
        ::operator delete[](q);
        p = ::operator new(n);
        q = ::operator new[](n);
        ::operator delete(p, n);
        ::operator delete[](q, n);
        p = ::operator new(n, std::nothrow);
        q = ::operator new[](n, std::nothrow);
        bad += !p || !q;
        ::operator delete(p, std::nothrow);
        ::operator delete[](q, std::nothrow);
    }
    is(bad, 0, "new, new[], nothrow; delete, delete[], sized");
}

static void test_aligned_forms()
{
    int bad = 0;
    for (std::size_t a = 16; a <= 65536; a *= 4)
        for (std::size_t n = 1; n < 100000; n *= 7) {
            std::align_val_t al{a};
            void *p[] = { ::operator new(n, al), ::operator new[](n, al),
                          ::operator new(n, al, std::nothrow), ::operator new[](n, al, std::nothrow),
                          ::operator new(n, al), ::operator new[](n, al) };
            for (void *q : p) {
                bad += !q || !aligned(q, a);
                std::memset(q, 3, n);
            }
            ::operator delete(p[0], al);
            ::operator delete[](p[1], al);
            ::operator delete(p[2], al, std::nothrow);
            ::operator delete[](p[3], al, std::nothrow);
            ::operator delete(p[4], n, al);
            ::operator delete[](p[5], n, al);
        }
    Wide *w = new Wide, *v = new Wide[3];
    bad += !aligned(w, 256) || !aligned(v, 256);
    delete w;
    delete[] v;
    is(bad, 0, "the aligned forms of all of them");
}

static int handler_calls;
static void handler()
{
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

static void test_failure()
{
    int thrown = 0;
    try {
        ::operator delete(::operator new(too_much));
    } catch (const std::bad_alloc &) {
        thrown++;
    }
    try {
        ::operator delete[](::operator new[](too_much));
    } catch (const std::bad_alloc &) {
        thrown++;
    }
    try {
        ::operator delete(::operator new(too_much, std::align_val_t{64}), std::align_val_t{64});
    } catch (const std::bad_alloc &) {
        thrown++;
    }
    is(thrown, 3, "no memory: bad_alloc");
    ok(!::operator new(too_much, std::nothrow) && !::operator new[](too_much, std::nothrow)
       && !::operator new(too_much, std::align_val_t{64}, std::nothrow), "nothrow: a null pointer");

    std::set_new_handler(handler);
    thrown = 0;
    try {
        ::operator delete(::operator new(too_much));
    } catch (const std::bad_alloc &) {
        thrown = 1;
    }
    ok(thrown && handler_calls == 3, "new_handler is called until there is none (%d calls)", handler_calls);

    std::set_new_handler([] { throw std::bad_alloc(); });
    ok(!::operator new(too_much, std::nothrow), "a handler that throws, under nothrow");
    std::set_new_handler(nullptr);
}

// Exceptions allocate, and in a thread of their own.
static void test_exceptions()
{
    int caught = 0;
    std::thread([&] {
        for (int i = 0; i < 1000; i++) {
            try {
                throw std::string(static_cast<std::size_t>(i), 'x');
            } catch (const std::string &s) {
                caught += s.size() == static_cast<std::size_t>(i);
            }
        }
    }).join();
    is(caught, 1000, "a thousand exceptions in a thread");
}

static void test_containers()
{
    std::vector<std::thread> threads;
    std::vector<std::map<int, std::string>> maps(4);
    for (std::size_t t = 0; t < maps.size(); t++)
        threads.emplace_back([&maps, t] {
            for (int i = 0; i < 20000; i++)
                maps[t][i * 7919 % 20011] += std::string(static_cast<std::size_t>(i % 90), 'a');
        });
    for (auto &t : threads)
        t.join();
    std::size_t sum = 0, want = 0;
    for (int i = 0; i < 20000; i++)
        want += static_cast<std::size_t>(i % 90);
    for (const auto &m : maps)
        for (const auto &e : m)
            sum += e.second.size();
    is(sum, 4 * want, "maps of strings by four threads");
    maps.clear();
    std::pmr::vector<int> v(std::pmr::new_delete_resource());
    for (int i = 0; i < 100000; i++)
        v.push_back(i);
    auto shared = std::make_shared<std::vector<int>>(v.begin(), v.end());
    is(std::make_unique<std::vector<int>>(*shared)->back(), 99999, "pmr, shared_ptr, unique_ptr");
}

int main(int, char **argv)
{
    run_under_hakmem(argv);
    test_plain_forms();
    test_aligned_forms();
    test_failure();
    test_exceptions();
    test_containers();
    return tap_done();
}
