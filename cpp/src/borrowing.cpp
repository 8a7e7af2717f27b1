#include "vaexprs/borrowing.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "vaexprs/float_math.hpp"

namespace vaexprs {

namespace {

/// Sums that decide bits are plain loops in float64, in order: the same on every machine.
double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i)
        sum += a[i] * b[i];
    return sum;
}

/// The weighted one-hot design of the seen combinations: never a matrix, since there may be tens of
/// thousands of categories.
struct Design {
    std::size_t n_keys, n_rows;
    std::vector<std::size_t> rows;  ///< n_seen x n_keys
    std::vector<double> shares;     ///< n_seen, of the training cells
    double ridge;

    /// D' W y.
    std::vector<double> gathered(const std::vector<double>& y) const {
        std::vector<double> out(n_rows, 0.0);
        for (std::size_t g = 0; g < shares.size(); ++g) {
            for (std::size_t k = 0; k < n_keys; ++k)
                out[rows[g * n_keys + k]] += shares[g] * y[g];
        }
        return out;
    }

    /// (D' W D + ridge) x.
    std::vector<double> normal_product(const std::vector<double>& x) const {
        std::vector<double> fitted(shares.size(), 0.0);
        for (std::size_t g = 0; g < shares.size(); ++g) {
            for (std::size_t k = 0; k < n_keys; ++k)
                fitted[g] += x[rows[g * n_keys + k]];
        }
        std::vector<double> out = gathered(fitted);
        for (std::size_t i = 0; i < n_rows; ++i)
            out[i] += ridge * x[i];
        return out;
    }

    /// Solves (D' W D + ridge) x = D' W y by conjugate gradients with the diagonal as
    /// preconditioner (Hestenes and Stiefel 1952).
    std::vector<double> solve(const std::vector<double>& y) const {
        constexpr double kTolerance = 1e-28;  // of the squared residual: what float64 can reach
        constexpr int kMostSteps = 1000;      // of designs that are long chains of keys
        std::vector<double> diagonal = gathered(std::vector<double>(shares.size(), 1.0));
        std::vector<double> x(n_rows, 0.0), r = gathered(y), z(n_rows), p(n_rows, 0.0);
        double before = 0.0, first = 0.0;
        for (int step = 0; step < kMostSteps; ++step) {
            for (std::size_t i = 0; i < n_rows; ++i)
                z[i] = r[i] / (diagonal[i] + ridge);
            const double now = dot(r, z);
            if (step == 0) first = now;
            if (!(now > kTolerance * first)) break;
            for (std::size_t i = 0; i < n_rows; ++i)
                p[i] = z[i] + (step == 0 ? 0.0 : now / before) * p[i];
            const std::vector<double> product = normal_product(p);
            const double length = now / dot(p, product);
            for (std::size_t i = 0; i < n_rows; ++i) {
                x[i] += length * p[i];
                r[i] -= length * product[i];
            }
            before = now;
        }
        return x;
    }
};

/// Effects that hidden groups may have: 32 MB. Models of ours have a few thousand.
constexpr std::size_t kMostEffects = std::size_t{1} << 22;
/// Cells added to those of each hidden group, so that none has a share of zero: its logarithm would
/// be infinite.
constexpr double kAdded = 0.5;

std::size_t sum_of(std::span<const std::int32_t> sizes) {
    return static_cast<std::size_t>(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}));
}

/// The mean of each combination at one coordinate: of its mixture, else its log library size, else
/// 0.
std::vector<double> means_of(const LatentLaw& law, std::size_t n_seen, std::size_t coordinate) {
    std::vector<double> means(n_seen, 0.0);
    for (std::size_t g = 0; g < n_seen; ++g) {
        if (!law.is_mixture()) {
            if (law.library.location != nullptr) means[g] = law.library.location[g];
            continue;
        }
        const auto last = static_cast<std::size_t>(law.mixture.offsets[g + 1]);
        for (auto c = static_cast<std::size_t>(law.mixture.offsets[g]); c < last; ++c)
            means[g] += law.mixture.weights[c] * law.mixture.means[c * law.n_dim() + coordinate];
    }
    return means;
}

}  // namespace

Effects::Effects(const Conditions& conditions, const LatentLaw& law)
    : conditions_(conditions),
      law_(law),
      n_dim_(law.is_mixture() ? law.n_dim() : 1),
      hidden_(law, kMostEffects / (sum_of(conditions.sizes) + conditions.n_seen())),
      importance_(conditions.n_keys(), 0.0) {
    const std::size_t n_keys = conditions.n_keys(), n_seen = conditions.n_seen();
    std::size_t width = 0;
    for (const std::int32_t size : conditions.sizes) {
        starts_.push_back(width);
        width += static_cast<std::size_t>(size);
    }
    row_of_.assign(width, -1);
    Design design{n_keys, 0, std::vector<std::size_t>(n_seen * n_keys), {}, 0.0};
    double total = 0.0;
    for (std::size_t g = 0; g < n_seen; ++g) {
        total += static_cast<double>(conditions.n_cells[g]);
        for (std::size_t k = 0; k < n_keys; ++k) {
            std::int64_t& place =
                row_of_[starts_[k] + static_cast<std::size_t>(conditions.row(g)[k])];
            if (place < 0) place = static_cast<std::int64_t>(design.n_rows++);
            design.rows[g * n_keys + k] = static_cast<std::size_t>(place);
        }
    }
    for (const std::int64_t n : conditions.n_cells)
        design.shares.push_back(static_cast<double>(n) / total);
    // A little, so that effects are unique where keys are confounded.
    design.ridge = 1e-3 / static_cast<double>(n_seen);

    const std::size_t n_hidden = has_hidden_groups() ? hidden_.size() : 0;
    n_columns_ = n_dim_ + n_hidden;
    effects_.assign(design.n_rows * n_columns_, 0.0);
    const auto fit = [&](std::vector<double> values, std::size_t column) {
        const double average = dot(design.shares, values);
        for (double& value : values)
            value -= average;
        const std::vector<double> effect = design.solve(values);
        for (std::size_t i = 0; i < design.n_rows; ++i)
            effects_[i * n_columns_ + column] = effect[i];
        return effect;
    };
    for (std::size_t j = 0; j < n_dim_; ++j) {
        if (!hidden_.varies(j)) continue;
        const std::vector<double> effect = fit(means_of(law, n_seen, j), j);
        for (std::size_t k = 0; k < n_keys; ++k) {
            double mean = 0.0, variance = 0.0;
            const auto at = [&](std::size_t g) { return effect[design.rows[g * n_keys + k]]; };
            for (std::size_t g = 0; g < n_seen; ++g)
                mean += design.shares[g] * at(g);
            for (std::size_t g = 0; g < n_seen; ++g)
                variance += design.shares[g] * (at(g) - mean) * (at(g) - mean);
            importance_[k] += variance;
        }
    }
    double explained = 0.0;
    for (const double variance : importance_)
        explained += variance;
    for (double& variance : importance_)
        variance = variance / (explained > 0.0 ? explained : 1.0) + 1e-6;

    having_.resize(n_hidden);
    std::vector<std::vector<double>> values(n_hidden, std::vector<double>(n_seen));
    for (std::size_t g = 0; n_hidden != 0 && g < n_seen; ++g) {
        const std::vector<double> share = shares(g);
        for (std::size_t k = 0; k < n_hidden; ++k) {
            values[k][g] = log_cells(g, share[k]);
            if (share[k] > 0.0) having_[k].push_back(static_cast<std::uint32_t>(g));
        }
    }
    for (std::size_t k = 0; k < n_hidden; ++k)
        fit(std::move(values[k]), n_dim_ + k);
}

double Effects::difference(const std::int32_t* to, const std::int32_t* from,
                           std::size_t column) const {
    double sum = 0.0;
    for (std::size_t k = 0; k < starts_.size(); ++k) {
        if (to[k] == from[k]) continue;
        if (const std::int64_t i = row(k, to[k]); i >= 0)
            sum += effects_[static_cast<std::size_t>(i) * n_columns_ + column];
        sum -= effects_[static_cast<std::size_t>(row(k, from[k])) * n_columns_ + column];
    }
    return sum;
}

double Effects::shift(const std::int32_t* to, const std::int32_t* from,
                      std::size_t coordinate) const {
    return hidden_.varies(coordinate) ? difference(to, from, coordinate) : 0.0;
}

std::vector<std::uint32_t> Effects::nearest(const std::int32_t* combination) const {
    std::vector<std::uint32_t> all(conditions_.n_seen());
    std::iota(all.begin(), all.end(), 0u);
    return nearest(overlaps(combination), all);
}

/// How much each seen combination has in common with another.
std::vector<double> Effects::overlaps(const std::int32_t* combination) const {
    std::vector<double> out(conditions_.n_seen(), 0.0);
    for (std::size_t g = 0; g < out.size(); ++g) {
        for (std::size_t k = 0; k < conditions_.n_keys(); ++k)
            out[g] += conditions_.row(g)[k] == combination[k] ? importance_[k] : 0.0;
    }
    return out;
}

std::vector<std::uint32_t> Effects::nearest(const std::vector<double>& overlaps,
                                            const std::vector<std::uint32_t>& among) {
    double most = 0.0;
    for (const std::uint32_t g : among)
        most = std::max(most, overlaps[g]);
    std::vector<std::uint32_t> nearest;
    for (const std::uint32_t g : among) {
        // The bound is far below the 1e-6 that a key is worth, and above rounding.
        if (overlaps[g] >= most - 1e-9) nearest.push_back(g);
    }
    return nearest;
}

/// The share of each hidden group in a seen combination.
std::vector<double> Effects::shares(std::size_t seen) const {
    std::vector<double> share(hidden_.size(), 0.0);
    const auto last = static_cast<std::size_t>(law_.mixture.offsets[seen + 1]);
    for (auto c = static_cast<std::size_t>(law_.mixture.offsets[seen]); c < last; ++c)
        share[hidden_.of(c)] += law_.mixture.weights[c];
    return share;
}

/// The log number of cells of a combination that are of a hidden group of some share.
double Effects::log_cells(std::size_t seen, double share) const {
    const double n = share * static_cast<double>(conditions_.n_cells[seen]) + kAdded;
    return log_float(static_cast<float>(n));
}

/// The same in an unseen one: those of the nearest, with log odds moved by the differences that
/// the model expects. What would be less than one of their cells is none.
std::vector<double> Effects::shares(const std::int32_t* unseen) const {
    std::vector<double> moved(hidden_.size(), 0.0), odds(hidden_.size());
    double n_cells = 0.0;
    for (const std::uint32_t g : nearest(unseen)) {
        const std::vector<double> own = shares(g);
        for (std::size_t k = 0; k < own.size(); ++k)
            odds[k] = log_cells(g, own[k]) + difference(unseen, conditions_.row(g), n_dim_ + k);
        const double largest = *std::max_element(odds.begin(), odds.end());
        double total = 0.0;
        for (std::size_t k = 0; k < own.size(); ++k) {
            const double x = std::max(odds[k] - largest, -80.0);
            odds[k] = having_[k].empty() ? 0.0 : exp_float(static_cast<float>(x));
            total += odds[k];
        }
        const auto n = static_cast<double>(conditions_.n_cells[g]);
        n_cells += n;
        for (std::size_t k = 0; k < own.size(); ++k)
            moved[k] += n * odds[k] / total;
    }
    const double least = std::min(1.0, *std::max_element(moved.begin(), moved.end()));
    for (double& share : moved)
        share = share < least ? 0.0 : share / n_cells;
    return moved;
}

Pool Effects::lent(const std::int32_t* combination) const {
    Pool pool;
    double sum = 0.0;
    const std::vector<double> share = shares(combination), common = overlaps(combination);
    for (std::size_t k = 0; k < share.size(); ++k) {
        if (!(share[k] > 0.0)) continue;
        const std::vector<std::uint32_t> lenders = nearest(common, having_[k]);
        const auto each = [&](const auto& use) {
            for (const std::uint32_t g : lenders) {
                const auto last = static_cast<std::uint32_t>(law_.mixture.offsets[g + 1]);
                for (auto c = static_cast<std::uint32_t>(law_.mixture.offsets[g]); c < last; ++c) {
                    if (hidden_.of(c) == k)
                        use(g, c,
                            law_.mixture.weights[c] * static_cast<double>(conditions_.n_cells[g]));
                }
            }
        };
        double total = 0.0;
        each([&](std::uint32_t, std::uint32_t, double weight) { total += weight; });
        each([&](std::uint32_t g, std::uint32_t c, double weight) {
            pool.cumulative.push_back(sum += share[k] * weight / total);
            pool.component.push_back(c);
            pool.group.push_back(g);
        });
    }
    return pool;
}

}  // namespace vaexprs
