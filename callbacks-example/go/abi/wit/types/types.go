// Package types has the generic types of WIT as the generated bindings use them.
package types

// Tags of an Option.
const (
	OptionNone = 0
	OptionSome = 1
)

// Option is a value or nothing.
type Option[T any] struct {
	value T
	some  bool
}

// Some is an option with a value.
func Some[T any](value T) Option[T] { return Option[T]{value, true} }

// None is an option without one.
func None[T any]() Option[T] { return Option[T]{} }

// Tag is OptionSome or OptionNone.
func (o Option[T]) Tag() uint8 {
	if o.some {
		return OptionSome
	}
	return OptionNone
}

// Some answers the value; it panics where there is none.
func (o Option[T]) Some() T {
	if !o.some {
		panic("this option has no value")
	}
	return o.value
}

// Get answers the value and whether there is one.
func (o Option[T]) Get() (T, bool) { return o.value, o.some }

// Unit is the success, or the failure, that has no value: `result<_, string>` is a Result[Unit, string].
type Unit struct{}

// Tags of a Result.
const (
	ResultOk  = 0
	ResultErr = 1
)

// Result is a success or a failure.
type Result[T, E any] struct {
	ok     T
	err    E
	failed bool
}

// Ok is a success.
func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{ok: value} }

// Err is a failure.
func Err[T, E any](why E) Result[T, E] { return Result[T, E]{err: why, failed: true} }

// Tag is ResultOk or ResultErr.
func (r Result[T, E]) Tag() uint8 {
	if r.failed {
		return ResultErr
	}
	return ResultOk
}

// IsOk tells whether it is a success.
func (r Result[T, E]) IsOk() bool { return !r.failed }

// IsErr tells whether it is a failure.
func (r Result[T, E]) IsErr() bool { return r.failed }

// Ok answers the success; it panics where there is none.
func (r Result[T, E]) Ok() T {
	if r.failed {
		panic("this result is a failure")
	}
	return r.ok
}

// Err answers the failure; it panics where there is none.
func (r Result[T, E]) Err() E {
	if !r.failed {
		panic("this result is a success")
	}
	return r.err
}

// Tuple2 is a pair.
type Tuple2[A, B any] struct {
	F0 A
	F1 B
}

// Tuple3 has three values.
type Tuple3[A, B, C any] struct {
	F0 A
	F1 B
	F2 C
}

// Tuple4 has four values.
type Tuple4[A, B, C, D any] struct {
	F0 A
	F1 B
	F2 C
	F3 D
}
