// The C interface: checks its arguments, and turns exceptions into codes.

#include "vaexprs.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>

#include "vaexprs/generator.hpp"

struct vaexprs_artifact {
    explicit vaexprs_artifact(std::string_view bytes)
        : artifact(bytes), likelihood(artifact.likelihood()), keys(artifact.keys()) {}

    vaexprs::Artifact artifact;
    std::string likelihood;
    std::vector<vaexprs::Artifact::Key> keys;
};

struct vaexprs_run {
    vaexprs::Generator generator;
    std::uint64_t next = 0, stop = 0;
    vaexprs::Cells cells;
};

namespace {

void say(vaexprs_error* error, const char* message) {
    if (error != nullptr) std::snprintf(error->message, sizeof error->message, "%s", message);
}

/// Calls `work` and returns its status, or that of its exception: none leaves this function. `bad`
/// is the status of std::invalid_argument.
template <class Work>
vaexprs_status guarded(vaexprs_error* error, vaexprs_status bad, const Work& work) noexcept {
    try {
        return work();
    } catch (const vaexprs::RequestError& refused) {
        say(error, refused.what());
        return VAEXPRS_BAD_REQUEST;
    } catch (const std::invalid_argument& refused) {
        say(error, refused.what());
        return bad;
    } catch (const std::bad_alloc&) {
        say(error, "there is not enough memory.");
        return VAEXPRS_NO_MEMORY;
    } catch (const std::runtime_error& failure) {
        say(error, failure.what());
        return VAEXPRS_DECODER_FAILED;
    } catch (const std::exception& failure) {
        say(error, failure.what());
        return VAEXPRS_INTERNAL;
    } catch (...) {
        say(error, "an unknown failure.");
        return VAEXPRS_INTERNAL;
    }
}

vaexprs_status refuse(vaexprs_error* error, vaexprs_status status, const char* message) {
    say(error, message);
    return status;
}

/// Protobuf, and with it .onnx, ends at 2 GiB.
constexpr std::size_t kMaxBytes = (std::size_t{1} << 31) - 1;

bool read_file(const char* path, std::string& to) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "rb"), std::fclose);
    char piece[1 << 16];
    while (file != nullptr && to.size() <= kMaxBytes) {
        const std::size_t n = std::fread(piece, 1, sizeof piece, file.get());
        to.append(piece, n);
        if (n < sizeof piece) return std::ferror(file.get()) == 0 && to.size() <= kMaxBytes;
    }
    return false;
}

std::vector<vaexprs::Condition> conditions_of(const vaexprs_condition* from, std::size_t n) {
    std::vector<vaexprs::Condition> made;
    for (std::size_t i = 0; i < n; ++i) {
        if (from == nullptr || from[i].key == nullptr || from[i].category == nullptr)
            throw vaexprs::RequestError("conditions: expected a key and a category, got NULL.");
        made.emplace_back(from[i].key, from[i].category);
    }
    return made;
}

vaexprs::Request request_of(const vaexprs_options& options) {
    vaexprs::Request request;
    request.seed = options.seed;
    request.library = options.library;
    request.conditions = conditions_of(options.conditions, options.n_conditions);
    if (options.n_design > 0 && (options.design == nullptr || options.n_conditions > 0))
        throw vaexprs::RequestError("design: expected rows, and no conditions beside them.");
    for (std::size_t i = 0; i < options.n_design; ++i) {
        const vaexprs_design_row& row = options.design[i];
        request.design.push_back({conditions_of(row.conditions, row.n_conditions), row.n_cells});
    }
    return request;
}

template <class From, class To>
void copy(const From& from, std::size_t n, To* to) {
    if (to != nullptr) std::copy_n(from, n, to);
}

}  // namespace

extern "C" {

const char* vaexprs_version(void) {
    return VAEXPRS_VERSION;
}

vaexprs_status vaexprs_open_bytes(const void* bytes, size_t n_bytes, vaexprs_artifact** artifact,
                                  vaexprs_error* error) {
    if (artifact == nullptr || (bytes == nullptr && n_bytes > 0))
        return refuse(error, VAEXPRS_BAD_REQUEST, "bytes and artifact: expected no NULL.");
    return guarded(error, VAEXPRS_BAD_FILE, [&] {
        *artifact = new vaexprs_artifact({static_cast<const char*>(bytes), n_bytes});
        return VAEXPRS_OK;
    });
}

vaexprs_status vaexprs_open(const char* path, vaexprs_artifact** artifact, vaexprs_error* error) {
    if (path == nullptr || artifact == nullptr)
        return refuse(error, VAEXPRS_BAD_REQUEST, "path and artifact: expected no NULL.");
    return guarded(error, VAEXPRS_BAD_FILE, [&] {
        std::string bytes;
        if (!read_file(path, bytes)) {
            say(error, "the file cannot be read, or has more than 2 GiB.");
            return VAEXPRS_BAD_FILE;
        }
        *artifact = new vaexprs_artifact(bytes);
        return VAEXPRS_OK;
    });
}

void vaexprs_close(vaexprs_artifact* artifact) {
    delete artifact;
}

const char* vaexprs_likelihood(const vaexprs_artifact* artifact) {
    return artifact->likelihood.c_str();
}

size_t vaexprs_n_genes(const vaexprs_artifact* artifact) {
    return artifact->artifact.var_names().size();
}

size_t vaexprs_n_latent(const vaexprs_artifact* artifact) {
    return artifact->artifact.n_latent();
}

size_t vaexprs_n_keys(const vaexprs_artifact* artifact) {
    return artifact->keys.size();
}

const char* vaexprs_gene(const vaexprs_artifact* artifact, size_t gene) {
    const auto& names = artifact->artifact.var_names();
    return gene < names.size() ? names[gene].c_str() : nullptr;
}

const char* vaexprs_key(const vaexprs_artifact* artifact, size_t key) {
    return key < artifact->keys.size() ? artifact->keys[key].name.c_str() : nullptr;
}

size_t vaexprs_n_categories(const vaexprs_artifact* artifact, size_t key) {
    return key < artifact->keys.size() ? artifact->keys[key].categories.size() : 0;
}

const char* vaexprs_category(const vaexprs_artifact* artifact, size_t key, size_t code) {
    if (code >= vaexprs_n_categories(artifact, key)) return nullptr;
    return artifact->keys[key].categories[code].c_str();
}

void vaexprs_default_options(vaexprs_options* options) {
    *options = {};
    options->size = sizeof *options;
}

vaexprs_status vaexprs_start(const vaexprs_artifact* artifact, const vaexprs_options* options,
                             vaexprs_run** run, vaexprs_error* error) {
    if (artifact == nullptr || options == nullptr || run == nullptr)
        return refuse(error, VAEXPRS_BAD_REQUEST, "artifact, options, run: expected no NULL.");
    if (options->size != sizeof *options) {
        return refuse(error, VAEXPRS_BAD_REQUEST,
                      "options: begin with vaexprs_default_options of the same version.");
    }
    return guarded(error, VAEXPRS_BAD_REQUEST, [&] {
        vaexprs::DecodeFunction decode;
        if (options->decode != nullptr) {
            decode = [call = options->decode, context = options->decode_context](
                         const float* const* inputs, std::size_t n_cells, float* const* outputs) {
                return call(context, inputs, n_cells, outputs) == 0;
            };
        }
        vaexprs::Generator generator(artifact->artifact, request_of(*options), std::move(decode));
        const std::uint64_t first = options->first_cell, end = generator.n_cells();
        std::uint64_t n = options->n_cells;
        if (options->n_design > 0 && n == 0) n = first < end ? end - first : 0;
        const auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        if (first > most || n > most - first || (options->n_design > 0 && first + n > end))
            throw vaexprs::RequestError("n_cells: the request has fewer cells.");
        *run = new vaexprs_run{std::move(generator), first, first + n, {}};
        return VAEXPRS_OK;
    });
}

void vaexprs_stop(vaexprs_run* run) {
    delete run;
}

vaexprs_status vaexprs_next(vaexprs_run* run, vaexprs_block* block, vaexprs_error* error) {
    if (run == nullptr || block == nullptr)
        return refuse(error, VAEXPRS_BAD_REQUEST, "run and block: expected no NULL.");
    return guarded(error, VAEXPRS_BAD_FILE, [&] {
        if (run->next == run->stop) return VAEXPRS_END;
        const auto n = static_cast<std::size_t>(
            std::min<std::uint64_t>(run->generator.block(), run->stop - run->next));
        run->cells = run->generator.cells(run->next, n);
        const vaexprs::Cells& made = run->cells;
        *block = {run->next,
                  n,
                  made.values.data.size(),
                  made.values.data.data(),
                  made.values.indices.data(),
                  made.values.indptr.data(),
                  made.codes.data(),
                  reinterpret_cast<const std::uint8_t*>(made.unseen.get()),
                  made.z.data(),
                  made.library.empty() ? nullptr : made.library.data()};
        run->next += n;
        return VAEXPRS_OK;
    });
}

vaexprs_status vaexprs_fill(const vaexprs_run* run, uint64_t first_cell, size_t n_cells,
                            const vaexprs_buffers* buffers, size_t* n_values,
                            vaexprs_error* error) {
    if (run == nullptr || buffers == nullptr || n_values == nullptr)
        return refuse(error, VAEXPRS_BAD_REQUEST, "run, buffers, n_values: expected no NULL.");
    return guarded(error, VAEXPRS_BAD_FILE, [&] {
        std::vector<vaexprs::Cells> parts;
        std::size_t n = 0;
        for (std::size_t at = 0; at < n_cells; at += parts.back().n_cells()) {
            const std::size_t step = std::min(run->generator.block(), n_cells - at);
            parts.push_back(run->generator.cells(first_cell + at, step));
            n += parts.back().values.data.size();
        }
        *n_values = n;
        if (n > buffers->capacity && (buffers->data != nullptr || buffers->indices != nullptr)) {
            say(error, "capacity: there are more values.");
            return VAEXPRS_BUFFER_TOO_SMALL;
        }
        vaexprs_buffers to = *buffers;
        std::int64_t before = 0;
        if (to.indptr != nullptr) *to.indptr++ = 0;
        const auto advance = [](auto*& pointer, std::size_t by) {
            if (pointer != nullptr) pointer += by;
        };
        for (const vaexprs::Cells& part : parts) {
            const std::size_t n_part = part.n_cells(), size = part.values.data.size();
            copy(part.values.data.data(), size, to.data);
            copy(part.values.indices.data(), size, to.indices);
            copy(part.codes.data(), part.codes.size(), to.codes);
            copy(part.unseen.get(), n_part, to.unseen);
            copy(part.z.data(), part.z.size(), to.z);
            copy(part.library.data(), part.library.size(), to.library);
            if (to.indptr != nullptr) {
                for (std::size_t i = 1; i <= n_part; ++i)
                    *to.indptr++ = before + part.values.indptr[i];
            }
            before += static_cast<std::int64_t>(size);
            advance(to.data, size);
            advance(to.indices, size);
            advance(to.codes, part.codes.size());
            advance(to.unseen, n_part);
            advance(to.z, part.z.size());
            advance(to.library, part.library.size());
        }
        return VAEXPRS_OK;
    });
}

}  // extern "C"
