package clone

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A file that a DDL statement made after its pages could be copied comes without any: all of them are
// in the redo log. But recovery has to find the file, and knows files by the tablespace ID in their
// first page. So such a file gets a first page that says no more than that.

// Offsets in a page, and in the header of a tablespace on the first one.
const (
	pageType      = 24
	pageSpace     = 34
	pageBody      = 38 // behind the header that every page has
	spaceID       = pageBody
	spaceFlags    = pageBody + 16
	pageTrailer   = 8
	pageTypeSpace = 8
)

// firstPage makes the first page of a tablespace.
func firstPage(id, flags uint32) ([]byte, error) {
	size, zipped := 16<<10, false
	if n := flags >> 6 & 0xf; n != 0 { // page size; 0 is the original one
		size = 512 << n
	}
	if n := flags >> 1 & 0xf; n != 0 { // of pages of ROW_FORMAT=COMPRESSED
		size, zipped = 512<<n, true
	}
	if size < 1<<10 || size > 64<<10 {
		return nil, fmt.Errorf("tablespace %d has pages of %d bytes", id, size)
	}
	be := binary.BigEndian
	p := make([]byte, size)
	be.PutUint16(p[pageType:], pageTypeSpace)
	be.PutUint32(p[pageSpace:], id)
	be.PutUint32(p[spaceID:], id)
	be.PutUint32(p[spaceFlags:], flags)
	if zipped {
		// Page number and what lies before the LSN; type; all from the tablespace ID on.
		be.PutUint32(p, sum(p[4:16])^sum(p[pageType:pageType+2])^sum(p[pageSpace:]))
		return p, nil
	}
	crc := sum(p[4:26]) ^ sum(p[pageBody:size-pageTrailer])
	be.PutUint32(p, crc)
	be.PutUint32(p[size-pageTrailer:], crc)
	return p, nil
}

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
