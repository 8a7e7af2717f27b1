#include "vaexprs/inputs.hpp"

#include <algorithm>
#include <map>

#include "vaexprs/kernels.hpp"
#include "vaexprs/normal.hpp"

namespace vaexprs {

namespace {

using Codes = std::vector<std::int32_t>;

/// The groups of the seen combinations.
std::map<Codes, std::size_t> places_of(const Conditions& conditions) {
    std::map<Codes, std::size_t> places;
    for (std::size_t g = 0; g < conditions.n_seen(); ++g)
        places.emplace(Codes(conditions.row(g), conditions.row(g) + conditions.n_keys()), g);
    return places;
}

}  // namespace

std::uint32_t stream_of(const std::vector<std::string>& names) {
    if (names.empty()) return kPlainStream;
    std::uint32_t hash = 0x811C9DC5u;
    for (const std::string& name : names) {
        for (const char* byte = name.c_str(); byte <= name.c_str() + name.size(); ++byte)
            hash = (hash ^ static_cast<unsigned char>(*byte)) * 0x01000193u;
    }
    return hash;
}

Inputs::Inputs(const Conditions& conditions, const LatentLaw& law, const Plan& plan,
               std::span<const std::int32_t> combinations, std::vector<std::uint32_t> streams)
    : conditions_(conditions),
      law_(law),
      plan_(plan),
      combinations_(combinations),
      streams_(std::move(streams)) {
    for (const std::int32_t size : conditions.sizes)
        n_conditions_ += static_cast<std::size_t>(size);
    const std::map<Codes, std::size_t> places = places_of(conditions_);
    // Groups that borrow from the same combinations share one pool, but for shares of hidden
    // groups.
    std::map<std::vector<std::uint32_t>, std::uint32_t> known;
    for (std::size_t g = 0; g < streams_.size(); ++g) {
        const std::int32_t* combination = combinations_.data() + g * conditions_.n_keys();
        const auto place = places.find(Codes(combination, combination + conditions_.n_keys()));
        std::vector<std::uint32_t> sources;
        unseen_.push_back(place == places.end());
        if (unseen_.back()) {
            if (!effects_) effects_ = std::make_unique<Effects>(conditions_, law_);
            sources = effects_->nearest(combination);
        } else {
            sources.push_back(static_cast<std::uint32_t>(place->second));
        }
        if (law_.library.location != nullptr) library_.push_back(library_of(sources));
        if (!law_.is_mixture()) continue;
        const auto next = static_cast<std::uint32_t>(pools_.size());
        if (unseen_.back() && effects_->has_hidden_groups()) {
            pools_.push_back(effects_->lent(combination));
            pool_.push_back(next);
            continue;
        }
        const auto [entry, is_new] = known.emplace(std::move(sources), next);
        if (is_new) pools_.push_back(pool_of(entry->first));
        pool_.push_back(entry->second);
    }
}

Pool Inputs::pool_of(const std::vector<std::uint32_t>& groups) const {
    double total = 0.0, sum = 0.0;
    for (const std::uint32_t g : groups)
        total += static_cast<double>(conditions_.n_cells[g]);
    Pool pool;
    for (const std::uint32_t g : groups) {
        const double share = static_cast<double>(conditions_.n_cells[g]) / total;
        const auto last = static_cast<std::uint32_t>(law_.mixture.offsets[g + 1]);
        for (auto c = static_cast<std::uint32_t>(law_.mixture.offsets[g]); c < last; ++c) {
            pool.cumulative.push_back(sum += law_.mixture.weights[c] * share);
            pool.component.push_back(c);
            pool.group.push_back(g);
        }
    }
    return pool;
}

/// Location and scale are averages over training cells, the bounds the widest.
Inputs::Library Inputs::library_of(const std::vector<std::uint32_t>& groups) const {
    const LibraryLaw& law = law_.library;
    double total = 0.0, location = 0.0, scale = 0.0;
    Library made{law.minimum[groups[0]], law.maximum[groups[0]], 0.0f, 0.0f};
    for (const std::uint32_t g : groups)
        total += static_cast<double>(conditions_.n_cells[g]);
    for (const std::uint32_t g : groups) {
        const double share = static_cast<double>(conditions_.n_cells[g]) / total;
        location += share * law.location[g];
        scale += share * law.scale[g];
        made.minimum = std::min(made.minimum, law.minimum[g]);
        made.maximum = std::max(made.maximum, law.maximum[g]);
    }
    made.location = static_cast<float>(location);
    made.scale = static_cast<float>(scale);
    return made;
}

void Inputs::draw(const Run& run, std::size_t n, const InputRows& out) const {
    const std::size_t n_keys = conditions_.n_keys(), n_dim = law_.n_dim();
    std::vector<std::int32_t> groups(n);
    fill_groups(plan_, run.seed, run.first_cell, n, groups.data());
    std::vector<float> noise(n_dim), drawn(n_dim);
    for (std::size_t i = 0; i < n; ++i) {
        const auto g = static_cast<std::size_t>(groups[i]);
        const std::int32_t* codes = combinations_.data() + g * n_keys;
        std::copy_n(codes, n_keys, out.codes + i * n_keys);
        out.unseen[i] = unseen_[g];
        out.streams[i] = streams_[g];
        const Cell cell{run.seed, run.first_cell + i, streams_[g]};
        draw_mixture(run, cell, g, noise.data(), drawn.data());
        std::copy_n(drawn.data(), law_.n_latent, out.z + i * law_.n_latent);
        if (out.library != nullptr) out.library[i] = draw_library(cell, g, drawn.data());
        if (out.condition == nullptr) continue;
        float* block = out.condition + i * n_conditions_;
        std::fill_n(block, n_conditions_, 0.0f);
        for (std::size_t k = 0; k < n_keys; ++k) {
            block[codes[k]] = 1.0f;
            block += conditions_.sizes[k];
        }
    }
}

/// Draws from the mixture of a group, or standard normals.
void Inputs::draw_mixture(const Run& run, const Cell& cell, std::size_t group, float* noise,
                          float* out) const {
    const std::size_t n_dim = law_.n_dim();
    run.kernels->normal(cell, Purpose::latent, law_.n_dim(), law_.is_mixture() ? noise : out);
    if (!law_.is_mixture()) return;
    const Pool& pool = pools_[pool_[group]];
    const std::size_t place = draw_category({cell, 0}, Purpose::component, pool.cumulative);
    const std::size_t component = pool.component[place];
    const float* mean = law_.mixture.means + component * n_dim;
    const float* row = law_.mixture.tril +
                       static_cast<std::size_t>(law_.mixture.factor[component]) * n_dim * n_dim;
    const std::int32_t* to = combinations_.data() + group * conditions_.n_keys();
    const std::int32_t* from = conditions_.row(pool.group[place]);
    for (std::size_t j = 0; j < n_dim; ++j, row += n_dim) {
        double sum = mean[j];
        if (unseen_[group]) sum = static_cast<float>(mean[j] + effects_->shift(to, from, j));
        // Summed in float64 and in order: the same bits whatever the compiler makes of it.
        for (std::size_t k = 0; k <= j; ++k)
            sum += static_cast<double>(row[k]) * noise[k];
        out[j] = static_cast<float>(sum);
    }
}

/// The library size of a cell, of which `drawn` is the latent vector.
float Inputs::draw_library(const Cell& cell, std::size_t group, const float* drawn) const {
    const Library& law = library_[group];
    const float log_library =
        law_.with_log_library
            ? drawn[law_.n_latent]
            : law.location + law.scale * tiled_normal({cell, 0}, Purpose::library);
    // What exp_float can do; bounds of sizes lie within.
    const float size = exp_float(std::clamp(log_library, -87.0f, 88.0f));
    return std::clamp(size, law.minimum, law.maximum);
}

}  // namespace vaexprs
