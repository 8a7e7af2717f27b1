#include "request.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

namespace vaexprs::artifact {

namespace {

__extension__ typedef unsigned __int128 Wide;
__extension__ typedef __int128 Signed;
using Codes = std::vector<std::int32_t>;

/// Combinations with whole numbers that are in proportion to their shares.
struct Shares {
    std::vector<Codes> combinations;
    std::vector<std::uint64_t> weights;
};

std::size_t place_of(const auto& all, const std::string& name, const auto& name_of,
                     const std::string& what) {
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const auto& one) { return name_of(one) == name; });
    if (found == all.end()) throw RequestError("unknown " + what + " '" + name + "'.");
    return static_cast<std::size_t>(found - all.begin());
}

/// The codes of each key that is named, in the order in which they are.
std::map<std::size_t, Codes> allowed_codes(const Spec& spec,
                                           const std::vector<Condition>& conditions) {
    std::map<std::size_t, Codes> allowed;
    for (const auto& [key, category] : conditions) {
        const std::size_t k =
            place_of(spec.keys, key, [](const Key& one) { return one.name; }, "condition key");
        const std::size_t code = place_of(
            spec.keys[k].categories, category, [](const std::string& one) { return one; },
            "category of condition '" + key + "'");
        Codes& codes = allowed[k];
        if (std::find(codes.begin(), codes.end(), code) == codes.end())
            codes.push_back(static_cast<std::int32_t>(code));
    }
    for (auto& [k, codes] : allowed)
        std::sort(codes.begin(), codes.end());
    return allowed;
}

/// The combinations that a choice of categories allows, and their training cells.
Shares allowed_combinations(const Spec& spec, const std::map<std::size_t, Codes>& allowed) {
    const std::size_t n_keys = spec.keys.size();
    Shares made;
    for (std::size_t g = 0; g < spec.n_cells.size(); ++g) {
        const std::int32_t* row = spec.seen.data() + g * n_keys;
        const bool keep = std::all_of(allowed.begin(), allowed.end(), [&](const auto& choice) {
            return std::binary_search(choice.second.begin(), choice.second.end(),
                                      row[choice.first]);
        });
        if (!keep) continue;
        made.combinations.emplace_back(row, row + n_keys);
        made.weights.push_back(static_cast<std::uint64_t>(spec.n_cells[g]));
    }
    if (!made.weights.empty()) return made;
    // No training cell is like this: the keys that were left open follow their own frequencies.
    std::map<Codes, std::uint64_t> rest;
    for (std::size_t g = 0; g < spec.n_cells.size(); ++g) {
        Codes open;
        for (std::size_t k = 0; k < n_keys; ++k)
            if (!allowed.contains(k)) open.push_back(spec.seen[g * n_keys + k]);
        rest[open] += static_cast<std::uint64_t>(spec.n_cells[g]);
    }
    std::vector<Codes> asked{Codes(n_keys)};
    for (const auto& [k, codes] : allowed) {
        std::vector<Codes> next;
        for (const Codes& before : asked) {
            for (const std::int32_t code : codes) {
                next.push_back(before);
                next.back()[k] = code;
            }
        }
        asked = std::move(next);
    }
    for (const Codes& one : asked) {
        for (const auto& [open, weight] : rest) {
            Codes codes = one;
            std::size_t at = 0;
            for (std::size_t k = 0; k < n_keys; ++k)
                if (!allowed.contains(k)) codes[k] = open[at++];
            made.combinations.push_back(std::move(codes));
            made.weights.push_back(weight);
        }
    }
    return made;
}

Wide sum_of(const std::vector<std::uint64_t>& weights) {
    return std::accumulate(weights.begin(), weights.end(), Wide{0});
}

/// Splits a number of cells by weights with largest remainders (Hamilton's method). What each got
/// too little, in cells times the sum of the weights, is in `owed` and comes first the next time.
std::vector<std::uint64_t> apportion(std::uint64_t total, const std::vector<std::uint64_t>& weights,
                                     std::vector<Signed>& owed) {
    const auto whole = static_cast<Signed>(sum_of(weights));
    owed.resize(weights.size());
    std::vector<std::uint64_t> shares;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        owed[i] += static_cast<Signed>(Wide{total} * weights[i]);
        shares.push_back(owed[i] > 0 ? static_cast<std::uint64_t>(owed[i] / whole) : 0);
        owed[i] -= static_cast<Signed>(shares[i]) * whole;
    }
    const auto left = static_cast<Signed>(total) - static_cast<Signed>(sum_of(shares));
    std::vector<std::size_t> order(weights.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return owed[a] > owed[b]; });
    for (Signed i = 0; i < left; ++i) {
        const std::size_t most = order[static_cast<std::size_t>(i)];
        shares[most] += 1;
        owed[most] -= whole;
    }
    for (Signed i = left; i < 0; ++i) {  // some have had more than their due already
        std::size_t least = weights.size();
        for (std::size_t k = 0; k < weights.size(); ++k)
            if (shares[k] > 0 && (least == weights.size() || owed[k] < owed[least])) least = k;
        shares[least] -= 1;
        owed[least] += whole;
    }
    return shares;
}

void add_group(PlanArrays& plan, const Codes& codes) {
    plan.combinations.insert(plan.combinations.end(), codes.begin(), codes.end());
    plan.n_groups += 1;
}

PlanArrays plan_by_frequencies(const Shares& shares) {
    PlanArrays plan;
    const Wide total = sum_of(shares.weights);
    Wide running = 0;
    for (std::size_t g = 0; g < shares.weights.size(); ++g) {
        running += shares.weights[g];
        const Wide bound = (running << 64) / total;
        const Wide most = std::numeric_limits<std::uint64_t>::max();
        plan.bounds.push_back(static_cast<std::uint64_t>(std::min(bound, most)));
        plan.groups.push_back(static_cast<std::int32_t>(g));
        add_group(plan, shares.combinations[g]);
    }
    return plan;
}

/// How rows that allow the same combinations split their cells.
struct Split {
    Shares shares;
    std::vector<Signed> owed;
};

/// Rows that allow the same combinations split all their cells by the training frequencies: of
/// rows of single cells, each alone would take the most frequent combination.
PlanArrays plan_by_layout(const Spec& spec, const std::vector<DesignRow>& design) {
    PlanArrays plan;
    plan.is_endless = false;
    std::vector<Codes> runs;
    std::uint64_t end = 0;
    std::map<std::map<std::size_t, Codes>, Split> splits;
    for (const DesignRow& row : design) {
        const auto allowed = allowed_codes(spec, row.conditions);
        const auto [found, is_new] = splits.try_emplace(allowed);
        auto& [shares, owed] = found->second;
        if (is_new) shares = allowed_combinations(spec, allowed);
        if (row.n_cells >
            static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) - end)
            throw RequestError("the design has more than 2^63 - 1 cells.");
        const auto lengths = apportion(row.n_cells, shares.weights, owed);
        for (std::size_t i = 0; i < lengths.size(); ++i) {
            if (lengths[i] == 0) continue;
            runs.push_back(shares.combinations[i]);
            plan.bounds.push_back(end += lengths[i]);
        }
    }
    if (runs.empty()) {  // no cell at all: one group that no cell uses
        runs.emplace_back(spec.seen.begin(),
                          spec.seen.begin() + static_cast<std::ptrdiff_t>(spec.keys.size()));
        plan.bounds.push_back(0);
    }
    std::map<Codes, std::int32_t> places;
    for (const Codes& run : runs)
        places[run] = 0;
    for (auto& [codes, place] : places) {
        place = static_cast<std::int32_t>(plan.n_groups);
        add_group(plan, codes);
    }
    for (const Codes& run : runs)
        plan.groups.push_back(places[run]);
    return plan;
}

}  // namespace

PlanArrays make_plan(const Spec& spec, const Request& request) {
    if (!request.design.empty()) return plan_by_layout(spec, request.design);
    return plan_by_frequencies(allowed_combinations(spec, allowed_codes(spec, request.conditions)));
}

}  // namespace vaexprs::artifact
