#include "vaexprs/borrowing.hpp"

#include <algorithm>
#include <cmath>

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

/// The mean of each group at one coordinate: of its mixture, else its log library size, else 0.
std::vector<double> group_means(const LatentLaw& law, std::size_t n_groups,
                                std::size_t coordinate) {
    std::vector<double> means(n_groups, 0.0);
    for (std::size_t g = 0; g < n_groups; ++g) {
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
    : n_dim_(law.is_mixture() ? law.n_dim() : 1), importance_(conditions.n_keys(), 0.0) {
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

    effects_.resize(design.n_rows * n_dim_);
    for (std::size_t j = 0; j < n_dim_; ++j) {
        std::vector<double> means = group_means(law, n_seen, j);
        const double average = dot(design.shares, means);
        for (double& mean : means)
            mean -= average;
        const std::vector<double> effect = design.solve(means);
        for (std::size_t i = 0; i < design.n_rows; ++i)
            effects_[i * n_dim_ + j] = effect[i];
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
}

double Effects::shift(const std::int32_t* to, const std::int32_t* from,
                      std::size_t coordinate) const {
    double sum = 0.0;
    for (std::size_t k = 0; k < starts_.size(); ++k) {
        if (to[k] == from[k]) continue;
        if (const std::int64_t i = row(k, to[k]); i >= 0)
            sum += effects_[static_cast<std::size_t>(i) * n_dim_ + coordinate];
        sum -= effects_[static_cast<std::size_t>(row(k, from[k])) * n_dim_ + coordinate];
    }
    return sum;
}

std::vector<std::uint32_t> nearest_seen(const Conditions& conditions,
                                        const std::vector<double>& importance,
                                        const std::int32_t* combination) {
    const auto overlap = [&](std::size_t g) {
        double sum = 0.0;
        for (std::size_t k = 0; k < conditions.n_keys(); ++k)
            sum += conditions.row(g)[k] == combination[k] ? importance[k] : 0.0;
        return sum;
    };
    double most = 0.0;
    for (std::size_t g = 0; g < conditions.n_seen(); ++g)
        most = std::max(most, overlap(g));
    std::vector<std::uint32_t> nearest;
    for (std::size_t g = 0; g < conditions.n_seen(); ++g) {
        // The bound is far below the 1e-6 that a key is worth, and above rounding.
        if (overlap(g) >= most - 1e-9) nearest.push_back(static_cast<std::uint32_t>(g));
    }
    return nearest;
}

}  // namespace vaexprs
