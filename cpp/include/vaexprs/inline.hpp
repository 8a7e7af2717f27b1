// How functions shared by several instruction sets are declared.
//
// The kernels are one source compiled several times, each time for another instruction set. An
// ordinary inline function in a header they share would leave one copy per object file under one
// name, the linker would keep any of them, and the machine without AVX-512 might be handed the
// copy with AVX-512. So every function that kernels share has internal linkage and is always
// inlined: no copy has a name that could be confused with another. A test looks at the symbols.

#pragma once

#if defined(__GNUC__) || defined(__clang__)
#define VAEXPRS_INLINE [[gnu::always_inline]] static inline
#else
#define VAEXPRS_INLINE static inline
#endif

/// The same for members of classes, which cannot be static in this sense.
#if defined(__GNUC__) || defined(__clang__)
#define VAEXPRS_INLINE_MEMBER [[gnu::always_inline]] inline
#else
#define VAEXPRS_INLINE_MEMBER inline
#endif
