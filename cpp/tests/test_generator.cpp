// The C interface over whole artifacts: the same cells in any order of calls and from any thread,
// and damaged files refused without harm. Sanitizers look on.

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "vaexprs.h"

namespace {

using namespace vaexprs::tests;

std::string bytes_of(const std::string& name) {
    std::ifstream file(std::string(VAEXPRS_GOLDEN) + "/format-1-" + name + ".onnx",
                       std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

const char* const kNames[] = {
    "bernoulli",          "gaussian", "lognormal-library", "nb",      "plain", "poisson",
    "rectified_gaussian", "residual", "two-keys",          "zigamma", "zinb"};

struct Values {
    std::vector<float> data;
    std::vector<std::int32_t> indices;
    std::vector<std::int64_t> indptr;

    bool operator==(const Values&) const = default;
};

Values fill(const vaexprs_run* run, std::uint64_t first, std::size_t n) {
    Values made{{}, {}, std::vector<std::int64_t>(n + 1)};
    vaexprs_buffers buffers{};
    buffers.indptr = made.indptr.data();
    std::size_t n_values = 0;
    CHECK(vaexprs_fill(run, first, n, &buffers, &n_values, nullptr) == VAEXPRS_OK);
    made.data.resize(n_values + 1);
    made.indices.resize(n_values + 1);
    buffers.capacity = n_values;
    buffers.data = made.data.data();
    buffers.indices = made.indices.data();
    CHECK(vaexprs_fill(run, first, n, &buffers, &n_values, nullptr) == VAEXPRS_OK);
    return made;
}

vaexprs_run* start(const vaexprs_artifact* artifact, std::uint64_t n_cells) {
    vaexprs_options options;
    vaexprs_default_options(&options);
    options.seed = 7;
    options.n_cells = n_cells;
    vaexprs_run* run = nullptr;
    CHECK(vaexprs_start(artifact, &options, &run, nullptr) == VAEXPRS_OK);
    return run;
}

void test_blocks_and_threads() {
    for (const char* name : kNames) {
        const std::string bytes = bytes_of(name);
        vaexprs_artifact* artifact = nullptr;
        vaexprs_error error;
        CHECK(vaexprs_open_bytes(bytes.data(), bytes.size(), &artifact, &error) == VAEXPRS_OK);
        vaexprs_run* run = start(artifact, 700);
        const Values all = fill(run, 0, 700);
        std::vector<Values> parts(4);
        {
            std::vector<std::thread> threads;
            for (std::size_t i = 0; i < parts.size(); ++i)
                threads.emplace_back([&, i] { parts[i] = fill(run, 100 * i, 150); });
            for (std::thread& thread : threads)
                thread.join();
        }
        for (std::size_t i = 0; i < parts.size(); ++i)
            CHECK(parts[i] == fill(run, 100 * i, 150));
        vaexprs_block block;
        std::size_t n_cells = 0, n_values = 0;
        while (vaexprs_next(run, &block, nullptr) == VAEXPRS_OK) {
            CHECK(std::memcmp(block.data, all.data.data() + n_values,
                              block.n_values * sizeof(float)) == 0);
            n_values += block.n_values;
            n_cells += block.n_cells;
        }
        CHECK(n_cells == 700 && n_values == static_cast<std::size_t>(all.indptr.back()));
        vaexprs_stop(run);
        vaexprs_close(artifact);
    }
}

/// Opens a damaged file; what opens must make cells, or refuse to.
void try_bytes(const std::string& bytes) {
    // A copy of its very size, so that reading past its end is seen.
    const std::vector<char> copy(bytes.begin(), bytes.end());
    vaexprs_artifact* artifact = nullptr;
    vaexprs_error error;
    if (vaexprs_open_bytes(copy.data(), copy.size(), &artifact, &error) != VAEXPRS_OK) {
        CHECK(std::strlen(error.message) > 0);
        return;
    }
    vaexprs_run* run = start(artifact, 3);
    vaexprs_block block;
    const vaexprs_status status = vaexprs_next(run, &block, &error);
    CHECK(status == VAEXPRS_OK || status == VAEXPRS_BAD_FILE);
    vaexprs_stop(run);
    vaexprs_close(artifact);
}

void test_cut_files() {
    for (const char* name : {"nb", "two-keys"}) {
        const std::string bytes = bytes_of(name);
        for (std::size_t n = 0; n < bytes.size(); n += 7)
            try_bytes(bytes.substr(0, n));
    }
}

void test_damaged_bytes() {
    std::mt19937 random(1);
    for (const char* name : kNames) {
        const std::string bytes = bytes_of(name);
        for (int i = 0; i < 1500; ++i) {
            std::string damaged = bytes;
            for (auto n = 1 + random() % 3; n > 0; --n)
                damaged[random() % damaged.size()] = static_cast<char>(random());
            if (random() % 8 == 0) damaged.erase(random() % damaged.size(), 1 + random() % 40);
            try_bytes(damaged);
        }
    }
}

}  // namespace

int main() {
    return run_all({{"blocks, buffers and threads", test_blocks_and_threads},
                    {"files that end early", test_cut_files},
                    {"files with damaged bytes", test_damaged_bytes}});
}
