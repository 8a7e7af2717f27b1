#include "vaexprs/observation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "vaexprs/kernels.hpp"
#include "vaexprs/parallel.hpp"

namespace vaexprs {

namespace {

[[noreturn]] void refuse(const char* name, const char* expected, float got, std::size_t cell,
                         std::size_t gene) {
    throw std::invalid_argument(std::string(name) + ": expected " + expected + ", got " +
                                std::to_string(got) + " at row " + std::to_string(cell) +
                                ", column " + std::to_string(gene) + ".");
}

/// Throws at the first value of a parameter for which `valid` does not hold.
template <class Valid>
void check(const Observation& o, const ParameterRows& parameter, const char* name,
           const char* expected, const Valid& valid) {
    if (parameter.data == nullptr) return;
    const std::size_t n_rows = parameter.stride == 0 ? std::min<std::size_t>(o.n_cells, 1) : o.n_cells;
    for (std::size_t i = 0; i < n_rows; ++i) {
        const float* row = parameter.row(i);
        // Without a way out of the loop the compiler makes vectors of it.
        bool good = true;
        for (std::uint32_t j = 0; j < o.n_genes; ++j) good &= valid(row[j]);
        if (good) continue;
        for (std::uint32_t j = 0; j < o.n_genes; ++j) {
            if (!valid(row[j])) refuse(name, expected, row[j], i, j);
        }
    }
}

constexpr auto is_finite = [](float x) { return std::abs(x) <= 0x1.fffffep127f; };
constexpr auto is_positive = [](float x) { return (x > 0.0f) & (x <= 0x1.fffffep127f); };
constexpr auto is_scale = [](float x) { return (x >= 0.0f) & (x <= 0x1.fffffep127f); };
constexpr auto is_probability = [](float x) { return (x >= 0.0f) & (x <= 1.0f); };
constexpr auto is_mean = [](float x) { return (x >= 0.0f) & (x < kMaxMean); };

/// Everything but the means, which the kernels look at as they read them.
void check_parameters(const Observation& o) {
    check(o, o.scale, "scale", "finite values >= 0", is_scale);
    check(o, o.inverse_dispersion, "inverse_dispersion", "finite values > 0", is_positive);
    check(o, o.zero_logits, "zero_logits", "finite values", is_finite);
    if (o.likelihood == Likelihood::gaussian) {
        check(o, o.mean, "mean", "finite values", is_finite);
    }
}

/// Called when a kernel met a bad mean: finds it and throws.
[[noreturn]] void throw_bad_mean(const Observation& o) {
    if (o.likelihood == Likelihood::bernoulli) {
        check(o, o.mean, "mean", "probabilities in [0, 1]", is_probability);
    }
    check(o, o.mean, "mean", "finite values >= 0 and < 2^63", is_mean);
    throw std::logic_error("a kernel refused a mean that is good");
}

SparseKernel kernel_of(Likelihood likelihood, const Kernels& kernels) {
    switch (likelihood) {
        case Likelihood::bernoulli: return kernels.bernoulli;
        case Likelihood::poisson: return kernels.poisson;
        case Likelihood::nb: return kernels.nb;
        case Likelihood::zinb: return kernels.zinb;
        case Likelihood::zigamma: return kernels.zigamma;
        case Likelihood::gaussian: break;
    }
    throw std::logic_error("gaussian has no sparse kernel");
}

ObservationRow row_of(const Observation& o, const Run& run, std::size_t i) {
    return {run.seed,
            run.first_cell + i,
            o.n_genes,
            o.mean.row(i),
            o.scale.row(i),
            o.inverse_dispersion.row(i),
            o.zero_logits.row(i)};
}

void gaussian_row(const ObservationRow& row, const Kernels& kernels, float* out) {
    kernels.normal(row.seed, Purpose::observation, row.cell, row.n_genes, out);
    for (std::uint32_t j = 0; j < row.n_genes; ++j) out[j] = row.mean[j] + row.scale[j] * out[j];
}

/// Words of memory for one row's work, kept by the thread from call to call: fresh pages would cost
/// as much as the draws that are made in them.
std::uint32_t* workspace(std::size_t n_words) {
    thread_local Buffer<std::uint32_t> kept;
    kept.make_room(n_words);
    return kept.data();
}

/// Draws rows one after the other, as non-zeros, each into room made for it.
class RowSampler {
  public:
    RowSampler(const Observation& o, const Run& run)
        : observation_(o), run_(run), scratch_(workspace(kScratchArrays * (o.n_genes + kPadding))) {
        if (o.likelihood != Likelihood::gaussian) kernel_ = kernel_of(o.likelihood, *run.kernels);
    }

    std::size_t operator()(std::size_t i, SparseRow out) const {
        const ObservationRow row = row_of(observation_, run_, i);
        if (kernel_ == nullptr) return gaussian(row, out);
        const std::size_t n = kernel_(row, out, scratch_);
        if (n == kBadMean) throw_bad_mean(observation_);
        return n;
    }

  private:
    std::size_t gaussian(const ObservationRow& row, SparseRow out) const {
        float* dense = reinterpret_cast<float*>(scratch_);
        gaussian_row(row, *run_.kernels, dense);
        std::size_t n = 0;
        for (std::uint32_t j = 0; j < row.n_genes; ++j) {
            out.columns[n] = static_cast<std::int32_t>(j);
            out.values[n] = dense[j];
            n += dense[j] != 0.0f;
        }
        return n;
    }

    const Observation& observation_;
    const Run& run_;
    SparseKernel kernel_ = nullptr;
    std::uint32_t* scratch_;
};

/// Consecutive rows in CSR, made by one thread.
struct CsrPart {
    Buffer<float> data;
    Buffer<std::int32_t> indices;
};

}  // namespace

void sample_dense(const Observation& o, const Run& run, float* out) {
    check_parameters(o);
    parallel_rows(o.n_cells, parts_of(o.n_cells, run.n_threads),
                  [&](std::size_t first, std::size_t last, std::size_t) {
        if (o.likelihood == Likelihood::gaussian) {
            for (std::size_t i = first; i < last; ++i) {
                gaussian_row(row_of(o, run, i), *run.kernels, out + i * o.n_genes);
            }
            return;
        }
        const RowSampler sample(o, run);
        Buffer<std::int32_t> columns(o.n_genes + kPadding);
        Buffer<float> values(o.n_genes + kPadding);
        for (std::size_t i = first; i < last; ++i) {
            float* row = out + i * o.n_genes;
            const std::size_t n = sample(i, {columns.data(), values.data()});
            std::fill_n(row, o.n_genes, 0.0f);
            for (std::size_t k = 0; k < n; ++k) row[columns.data()[k]] = values.data()[k];
        }
    });
}

Csr sample_csr(const Observation& o, const Run& run) {
    check_parameters(o);
    const std::size_t n_parts = parts_of(o.n_cells, run.n_threads);
    std::vector<CsrPart> parts(n_parts);
    std::vector<std::int64_t> indptr(o.n_cells + 1, 0);
    parallel_rows(o.n_cells, n_parts, [&](std::size_t first, std::size_t last, std::size_t part) {
        const RowSampler sample(o, run);
        CsrPart& made = parts[part];
        const std::size_t row_room = o.n_genes + kPadding;
        for (std::size_t i = first; i < last; ++i) {
            if (made.data.room() < row_room) {
                // As much as the rows so far let expect, and a row to spare.
                const std::size_t per_row = i > first ? made.data.size() / (i - first) : 0;
                const std::size_t room = (last - i) * (per_row + per_row / 16) + row_room;
                made.data.make_room(room);
                made.indices.make_room(room);
            }
            const std::size_t n = sample(i, {made.indices.end(), made.data.end()});
            made.data.commit(n);
            made.indices.commit(n);
            indptr[i + 1] = static_cast<std::int64_t>(n);
        }
    });
    std::partial_sum(indptr.begin(), indptr.end(), indptr.begin());

    Csr csr{std::move(parts[0].data), std::move(parts[0].indices), std::move(indptr)};
    const auto nnz = static_cast<std::size_t>(csr.indptr.back());
    csr.data.make_room(nnz - csr.data.size());
    csr.indices.make_room(nnz - csr.indices.size());
    for (std::size_t part = 1; part < n_parts; ++part) {
        std::copy_n(parts[part].data.data(), parts[part].data.size(), csr.data.end());
        std::copy_n(parts[part].indices.data(), parts[part].indices.size(), csr.indices.end());
        csr.data.commit(parts[part].data.size());
        csr.indices.commit(parts[part].indices.size());
        parts[part] = {};
    }
    csr.data.shrink_to_fit();
    csr.indices.shrink_to_fit();
    return csr;
}

}  // namespace vaexprs
