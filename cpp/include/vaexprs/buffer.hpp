#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>

namespace vaexprs {

/// A growing array of plain numbers, without initialisation, that can give its memory away.
///
/// std::vector would write zeros before values, and cannot hand its memory to NumPy. Large blocks
/// grow and shrink by remapping pages in the usual allocators, not by copying.
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
    ~Buffer() { std::free(data_); }

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
    void shrink_to_fit() { reallocate(size_); }

    /// Gives the memory away: whoever takes it calls std::free.
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
        void* grown = std::realloc(data_, bytes);
        if (grown == nullptr) throw std::bad_alloc();
        data_ = static_cast<T*>(grown);
        capacity_ = capacity;
    }

    T* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

}  // namespace vaexprs
