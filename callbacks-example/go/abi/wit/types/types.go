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

// IsErr tells whether it is a failure.
func (r Result[T, E]) IsErr() bool { return r.failed }

// Ok answers the success.
func (r Result[T, E]) Ok() T { return r.ok }

// Err answers the failure.
func (r Result[T, E]) Err() E { return r.err }

// Tuple2 is a pair.
type Tuple2[A, B any] struct {
	F0 A
	F1 B
}
