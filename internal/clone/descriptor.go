package clone

import (
	"encoding/binary"
	"fmt"
)

// A donor describes what it sends: the state that begins or ends, a file, and where in a file the
// bytes that follow belong. Numbers in descriptors have their highest byte first.
const (
	descVersion = 100 // the newest known
	descHeader  = 12  // version, length, type

	descLocator = 1
	descTask    = 2
	descState   = 3
	descFile    = 4
	descData    = 5

	locatorSize = 34
	stateSize   = 46
	fileSize    = 62 // without the name
	dataSize    = 52
)

// The states of a copy, in their order.
const (
	stateInit = iota + 1
	stateFiles
	statePages
	stateRedo
	stateDone
)

// Flags of a state descriptor, and where they are.
const (
	stateFlags        = 44
	stateBegins       = 1
	stateAcknowledged = 2
)

// Flags of a file descriptor.
const (
	fileEncrypted = 1 << 2
	fileDeleted   = 1 << 4
)

// noSpace is the tablespace ID of a file that is no tablespace.
const noSpace = 1<<32 - 1

// stateChange says that a state begins, or is over.
type stateChange struct {
	state  uint32
	begins bool
}

// fileMeta describes a file. A file that is renamed or dropped while it is copied is described again.
type fileMeta struct {
	state uint32
	size  uint64
	flags uint16
	index uint32
	name  string

	space, spaceFlags uint32
}

// dataMeta says where the bytes that follow belong.
type dataMeta struct {
	state  uint32
	index  uint32
	length uint32
	offset uint64
	size   uint64 // of the whole file
}

// descType checks a descriptor's header and returns its type.
func descType(b []byte) (uint32, error) {
	be := binary.BigEndian
	if len(b) < descHeader {
		return 0, fmt.Errorf("a descriptor has %d bytes", len(b))
	}
	if v := be.Uint32(b); v != descVersion {
		return 0, fmt.Errorf("a descriptor is of version %d", v)
	}
	if n := be.Uint32(b[4:]); uint64(n) != uint64(len(b)) {
		return 0, fmt.Errorf("a descriptor says that it has %d bytes and has %d", n, len(b))
	}
	return be.Uint32(b[8:]), nil
}

func parseState(b []byte) (stateChange, error) {
	if len(b) < stateSize {
		return stateChange{}, fmt.Errorf("the descriptor of a state has %d bytes", len(b))
	}
	be := binary.BigEndian
	return stateChange{state: be.Uint32(b[12:]), begins: be.Uint16(b[stateFlags:])&stateBegins != 0}, nil
}

func parseFile(b []byte) (fileMeta, error) {
	be := binary.BigEndian
	if len(b) < fileSize || uint64(be.Uint32(b[58:])) > uint64(len(b)-fileSize) {
		return fileMeta{}, fmt.Errorf("the descriptor of a file has %d bytes", len(b))
	}
	name := b[fileSize:][:be.Uint32(b[58:])]
	for len(name) > 0 && name[len(name)-1] == 0 {
		name = name[:len(name)-1]
	}
	return fileMeta{state: be.Uint32(b[12:]), size: be.Uint64(b[16:]), flags: be.Uint16(b[40:]), index: be.Uint32(b[46:]), name: string(name),
		space: be.Uint32(b[42:]), spaceFlags: be.Uint32(b[32:])}, nil
}

func parseData(b []byte) (dataMeta, error) {
	if len(b) < dataSize {
		return dataMeta{}, fmt.Errorf("the descriptor of data has %d bytes", len(b))
	}
	be := binary.BigEndian
	return dataMeta{state: be.Uint32(b[12:]), index: be.Uint32(b[28:]), length: be.Uint32(b[32:]), offset: be.Uint64(b[36:]), size: be.Uint64(b[44:])}, nil
}
