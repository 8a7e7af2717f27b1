#include "vaexprs/recycling.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#if !defined(VAEXPRS_NO_THREADS)
#include <mutex>
#endif

namespace vaexprs {

namespace {

/// Stands in front of each block, and keeps the alignment that the system gave it.
struct alignas(std::max_align_t) Header {
    std::size_t size;  ///< bytes behind it
};

/// Smaller blocks come from pages that the system's allocator keeps; larger ones are rare, and it
/// remaps them when they grow.
constexpr std::size_t kSmallest = std::size_t{1} << 16, kLargest = std::size_t{16} << 20;
/// All that waits here together.
constexpr std::size_t kMostWaiting = std::size_t{48} << 20;

Header* header_of(void* memory) {
    return static_cast<Header*>(memory) - 1;
}

Header* from_system(Header* old, std::size_t size) {
    auto* block = static_cast<Header*>(std::realloc(old, sizeof(Header) + size));
    if (block == nullptr) throw std::bad_alloc();
    block->size = size;
    return block;
}

#if defined(VAEXPRS_NO_THREADS)
struct Mutex {};
struct Held {
    explicit Held(Mutex&) {}
};
#else
using Mutex = std::mutex;
using Held = std::scoped_lock<Mutex>;
#endif

/// Blocks that wait for their next use. A lock is taken once a block of cells, not on the hot path.
class Waiting {
  public:
    /// Returns a block of that size, not much larger, or null.
    Header* take(std::size_t size) {
        const Held held(mutex_);
        for (std::size_t i = 0; i < n_; ++i) {
            if (blocks_[i]->size >= size && blocks_[i]->size / 2 <= size) {
                total_ -= blocks_[i]->size;
                return std::exchange(blocks_[i], blocks_[--n_]);
            }
        }
        return nullptr;
    }

    /// Keeps a block, and returns the one that has to go for it, or null.
    Header* put(Header* block) {
        if (block->size < kSmallest || block->size > kLargest) return block;
        const Held held(mutex_);
        if (n_ == blocks_.size() || total_ + block->size > kMostWaiting) return block;
        total_ += block->size;
        blocks_[n_++] = block;
        return nullptr;
    }

  private:
    Mutex mutex_;
    std::array<Header*, 64> blocks_{};
    std::size_t n_ = 0, total_ = 0;
};

/// Never destroyed, since arrays may outlive everything else in the process.
Waiting& waiting() {
    static auto* blocks = new Waiting;
    return *blocks;
}

}  // namespace

void* resize_memory(void* old, std::size_t used, std::size_t wanted, std::size_t& granted) {
    Header* block = old == nullptr ? nullptr : header_of(old);
    const std::size_t had = block == nullptr ? 0 : block->size;
    if (had > kLargest && wanted > kLargest) {
        block = from_system(block, wanted);
    } else if (had < wanted || had > kLargest) {
        Header* fresh = waiting().take(wanted);
        if (fresh == nullptr) fresh = from_system(nullptr, wanted);
        if (block != nullptr) {
            std::memcpy(fresh + 1, block + 1, std::min(used, wanted));
            give_back_memory(block + 1);
        }
        block = fresh;
    }
    granted = block->size;
    return block + 1;
}

void give_back_memory(void* memory) noexcept {
    if (memory != nullptr) std::free(waiting().put(header_of(memory)));
}

}  // namespace vaexprs
