#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "vaexprs/recycling.hpp"

namespace vaexprs {

/// A growing array of plain numbers, without initialisation, that can give its memory away.
///
/// std::vector would write zeros before values, and cannot hand its memory to NumPy.
template <class T>
class Buffer {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    Buffer() = default;
    explicit Buffer(std::size_t capacity) { reallocate(capacity); }
    Buffer(Buffer&& other) noexcept { swap(other); }
    Buffer& operator=(Buffer&& other) noexcept {
        swap(other);
        return *this;
    }
    ~Buffer() { give_back_memory(data_); }

    T* data() { return data_; }
    const T* data() const { return data_; }
    std::size_t size() const { return size_; }

    /// Where the next entry goes.
    T* end() { return data_ + size_; }
    /// Declares that `n` entries were written at end().
    void commit(std::size_t n) { size_ += n; }

    /// How many entries fit after end().
    std::size_t room() const { return capacity_ - size_; }
    void make_room(std::size_t n) {
        if (room() < n) reallocate(size_ + n);
    }
    /// Gives back what is not needed, where it is much.
    void shrink_to_fit() { reallocate(size_); }

    /// Gives the memory away: whoever takes it calls give_back_memory.
    T* release() {
        size_ = capacity_ = 0;
        return std::exchange(data_, nullptr);
    }

  private:
    void swap(Buffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
    }
    void reallocate(std::size_t capacity) {
        // Never null, so that an empty array has an address too.
        const std::size_t bytes = (capacity > 0 ? capacity : 1) * sizeof(T);
        std::size_t granted = 0;
        data_ = static_cast<T*>(resize_memory(data_, size_ * sizeof(T), bytes, granted));
        capacity_ = granted / sizeof(T);
    }

    T* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

}  // namespace vaexprs
