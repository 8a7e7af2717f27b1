#include "vaexprs/normalisation.hpp"

#include <algorithm>

#include "vaexprs/float_math.hpp"
#include "vaexprs/functions.hpp"
#include "vaexprs/normal.hpp"

namespace vaexprs {

void normalise(std::span<float> data, std::span<const std::int64_t> indptr,
               const Normalisation& law, const Run& run) {
    const float rate = law.log_base > 0.0f ? 1.0f / log_float(law.log_base) : 0.0f;
    for (std::size_t i = 0; i + 1 < indptr.size(); ++i) {
        const auto first = static_cast<std::size_t>(indptr[i]);
        const auto row = data.subspan(first, static_cast<std::size_t>(indptr[i + 1]) - first);
        double sum = 0.0;
        for (const float value : row)
            sum += value;
        const auto n = static_cast<float>(sum);
        if (!(n > 0.0f)) continue;
        float log_sum = law.log_sum;
        if (law.slope != 0.0f) log_sum += law.slope * (log_float(n) - law.centre);
        if (law.deviation != 0.0f)
            log_sum += law.deviation * tiled_normal({run.cell(i), 0}, Purpose::normalisation);
        const float step = exp_float(std::clamp(log_sum, -80.0f, 80.0f)) / n;
        for (float& value : row) {
            if (value == 0.0f) continue;
            value *= step;
            if (rate == 0.0f) continue;
            value = rate * (law.pseudocount == 1.0f ? log_one_plus(value) : log_float(value));
        }
    }
}

}  // namespace vaexprs
