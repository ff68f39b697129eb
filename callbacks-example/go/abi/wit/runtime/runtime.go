// Package runtime hands out the memory that arguments and results of calls lie in, says when garbage is collected, and
// keeps the handles of the host's resources (buckets of state, requests of wasi:http).
//
// A component may not call the host while the host writes arguments into its memory, but Go's collector reads the
// clock, which is such a call. So it never starts by itself here: it runs at the beginning of a hook, every so many
// hooks.
package runtime

import (
	"runtime"
	"runtime/debug"
	"unsafe"
)

// Hooks between two collections. A hook leaves some 20 KiB behind; haul grants 32 MiB by default. A hook that makes
// much more garbage than that calls runtime.GC itself.
const hooksPerCollection = 64

var (
	ready  bool
	given  runtime.Pinner // what the host is writing into
	hooks  int
	early  [256 << 10]byte // for what is asked before Go has started
	filled uintptr
)

func init() {
	debug.SetGCPercent(-1)
	ready = true
}

// Allocate answers memory that stays where it is until the pinner lets go of it.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	// Of words, so that it is aligned for everything.
	memory := unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	pinner.Pin(memory)
	return memory
}

// Unpin is called by the bindings when a hook's arguments are Go's own, before the hook itself.
func Unpin() {
	given.Unpin()
	if hooks++; hooks%hooksPerCollection == 0 {
		runtime.GC()
	}
}

// Called by the host for room for arguments and results.
//
//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if old != nil {
		panic("the host never asks for a longer piece")
	}
	if ready {
		return Allocate(&given, size, align)
	}
	filled = (filled + align - 1) &^ (align - 1)
	memory := unsafe.Pointer(&early[filled])
	filled += size
	return memory
}

// Handle is a resource of the host's that a value of the bindings stands for, until it is dropped or handed over.
type Handle struct{ number int32 } // the host gives out no 0

// MakeHandle keeps the handle that the host has given.
func MakeHandle(number int32) *Handle {
	if number == 0 {
		panic("the host gives no resource the number 0")
	}
	return &Handle{number}
}

// Use answers the handle, and leaves it where it is.
func (h *Handle) Use() int32 {
	if h.number == 0 {
		panic("this resource was dropped, or handed over")
	}
	return h.number
}

// Take answers the handle, which is somebody else's from then on.
func (h *Handle) Take() int32 {
	number := h.Use()
	h.number = 0
	return number
}

// TakeOrNil is Take, or 0 where there is nothing to take.
func (h *Handle) TakeOrNil() int32 {
	number := h.number
	h.number = 0
	return number
}

// Set puts a handle where none is.
func (h *Handle) Set(number int32) {
	if h.number != 0 || number == 0 {
		panic("there is a resource already, or none to keep")
	}
	h.number = number
}
