package catalog

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark/internal/binlog"
	"tidemark/internal/gtid"
	pb "tidemark/proto/archive"
)

// This file maps the model to the archive's messages and back. Writers fill every field; readers
// ignore unknown fields and refuse an unknown format version.

func encode(m proto.Message) ([]byte, error) {
	setDigest(m, noDigest)
	data, err := protojson.MarshalOptions{Multiline: true, Indent: " "}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return sign(append(data, '\n'))
}

func decode(data []byte, m interface {
	proto.Message
	GetFormatVersion() uint32
}) error {
	err := protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, m)
	version := m.GetFormatVersion()
	if err != nil {
		// In another version a field may have another type: the version itself says more then.
		var peek struct{ FormatVersion uint32 }
		if json.Unmarshal(data, &peek) == nil {
			version = peek.FormatVersion
		}
	}
	switch {
	case version > FormatVersion:
		return &otherVersion{version}
	case err == nil && version != FormatVersion:
		return fmt.Errorf("format version is %d; the least there is is 1", version)
	case err != nil:
		return err
	}
	_, err = signature(data)
	return err
}

// otherVersion: the object is of a format that this program does not know.
type otherVersion struct{ version uint32 }

func (e *otherVersion) Error() string {
	return fmt.Sprintf("format version is %d; this program reads version %d", e.version, FormatVersion)
}

// stamp maps the zero time to absent.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func unstamp(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func digest(b []byte) (d Digest, err error) {
	if len(b) != len(d) {
		return d, fmt.Errorf("digest of %d bytes, %d expected", len(b), len(d))
	}
	copy(d[:], b)
	return d, nil
}

// digests reads several, remembering the first error.
type digests struct{ err error }

func (r *digests) get(b []byte) Digest {
	d, err := digest(b)
	if err != nil && r.err == nil {
		r.err = err
	}
	return d
}

func flavorToWire(f gtid.Flavor) pb.Flavor {
	switch f {
	case gtid.MariaDB:
		return pb.Flavor_FLAVOR_MARIADB
	case gtid.MySQL:
		return pb.Flavor_FLAVOR_MYSQL
	}
	return pb.Flavor_FLAVOR_UNSPECIFIED
}

func flavorFromWire(f pb.Flavor) gtid.Flavor {
	switch f {
	case pb.Flavor_FLAVOR_MARIADB:
		return gtid.MariaDB
	case pb.Flavor_FLAVOR_MYSQL:
		return gtid.MySQL
	}
	return 0
}

func tailToWire(t *Tail) *pb.Tail {
	if t == nil { // of a segment that is not complete yet
		t = new(Tail)
	}
	return &pb.Tail{Gtid: t.GTID, SourceOffset: t.Offset, Bytes: t.Bytes, Sha256: t.SHA256[:], Before: positionToWire(t.Before)}
}

func positionToWire(p Position) *pb.Position {
	return &pb.Position{Gtid: p.GTID, BinlogState: p.State}
}

func positionFromWire(p *pb.Position) Position {
	return Position{GTID: p.GetGtid(), State: p.GetBinlogState()}
}

func clusterToWire(c *Cluster, by string) *pb.Cluster {
	return &pb.Cluster{FormatVersion: FormatVersion, Uuid: c.UUID, Name: c.Name,
		Flavor: flavorToWire(c.Flavor), Created: stamp(c.Created), CreatedBy: by}
}

func clusterFromWire(m *pb.Cluster) *Cluster {
	return &Cluster{UUID: m.Uuid, Name: m.Name, Flavor: flavorFromWire(m.Flavor), Created: unstamp(m.Created)}
}

func timelineToWire(t *Timeline, uuid string) *pb.Timeline {
	m := &pb.Timeline{FormatVersion: FormatVersion, ClusterUuid: uuid, Number: t.Number, Parent: t.Parent,
		ParentSegment: t.ParentSegment, ParentBodyOffset: t.ParentBodyOffset, Position: positionToWire(t.Position),
		SkippedSegments: t.Skipped, DigestSeed: t.Seed[:], Reason: t.Reason, Created: stamp(t.Created), Abandoned: t.Abandoned}
	for _, g := range t.Gaps {
		m.Gaps = append(m.Gaps, &pb.Gap{From: positionToWire(g.From), To: positionToWire(g.To), Noticed: stamp(g.Noticed)})
	}
	return m
}

func timelineFromWire(m *pb.Timeline) (*Timeline, error) {
	seed, err := digest(m.DigestSeed)
	if err != nil {
		return nil, err
	}
	t := &Timeline{Number: m.Number, Parent: m.Parent, ParentSegment: m.ParentSegment,
		ParentBodyOffset: m.ParentBodyOffset, Position: positionFromWire(m.Position), Seed: seed,
		Skipped: m.SkippedSegments, Reason: m.Reason, Created: unstamp(m.Created), Abandoned: m.Abandoned}
	for _, g := range m.Gaps {
		t.Gaps = append(t.Gaps, Gap{positionFromWire(g.From), positionFromWire(g.To), unstamp(g.Noticed)})
	}
	return t, nil
}

func storedToWire(s Stored) *pb.Stored {
	return &pb.Stored{Key: s.Key, Size: uint64(s.Size), Crc32C: s.CRC32C, Sha256: s.SHA256[:],
		Compression: s.Compression, Recipients: s.Recipients}
}

func storedFromWire(m *pb.Stored, r *digests) Stored {
	return Stored{Key: m.GetKey(), Size: int64(m.GetSize()), CRC32C: m.GetCrc32C(), SHA256: r.get(m.GetSha256()),
		Compression: m.GetCompression(), Recipients: m.GetRecipients()}
}

func segmentToWire(s *Segment) *pb.Segment {
	m := &pb.Segment{
		FormatVersion: FormatVersion, ClusterUuid: s.ClusterUUID, Timeline: s.Timeline, First: s.First, Last: s.Last,
		Writer: s.Writer,
		Source: &pb.Source{ServerId: s.Source.ServerID, ServerUuid: s.Source.ServerUUID, ServerVersion: s.Source.Version,
			File: s.Source.File, StartOffset: s.Source.Start, EndOffset: s.Source.End,
			FormatDescription: s.Source.Format[:], FileCreated: s.Source.FileCreated},
		ServerIds: s.ServerIDs, Before: positionToWire(s.Before), After: positionToWire(s.After),
		Transactions: s.Transactions, Events: s.Events, HeadBytes: s.HeadBytes, BodyBytes: s.BodyBytes,
		BodySha256:  s.BodySHA256[:],
		ChainBefore: s.ChainBefore[:], ChainAfter: s.ChainAfter[:],
		Tail:   tailToWire(s.Tail),
		Stored: storedToWire(s.Stored), Sealed: stamp(s.Sealed), CreatedBy: s.CreatedBy,
		ServerVariables: s.Variables,
	}
	if s.Transactions > 0 {
		m.CommitTime = &pb.TimeRange{First: stamp(s.Commit.First), Last: stamp(s.Commit.Last), Min: stamp(s.Commit.Min),
			Max: stamp(s.Commit.Max), Precision: durationpb.New(s.Commit.Precision)}
	}
	for _, b := range s.Members {
		m.Members = append(m.Members, &pb.Member{Number: b.Number, BodyBytes: b.BodyBytes, BodySha256: b.BodySHA256[:],
			ReceivedFirst: stamp(b.ReceivedFirst), ReceivedLast: stamp(b.ReceivedLast), Live: b.Live})
	}
	for _, b := range s.Barriers {
		m.Barriers = append(m.Barriers, &pb.Barrier{Kind: b.Kind, SourceOffset: b.Offset, Gtid: b.GTID, Time: stamp(b.Time), What: b.What})
	}
	return m
}

func segmentFromWire(m *pb.Segment) (*Segment, error) {
	var r digests
	s := &Segment{
		ClusterUUID: m.ClusterUuid, Timeline: m.Timeline, First: m.First, Last: m.Last, Writer: m.Writer,
		Source: Source{ServerID: m.GetSource().GetServerId(), ServerUUID: m.GetSource().GetServerUuid(),
			Version: m.GetSource().GetServerVersion(), File: m.GetSource().GetFile(),
			Start: m.GetSource().GetStartOffset(), End: m.GetSource().GetEndOffset(),
			Format: r.get(m.GetSource().GetFormatDescription()), FileCreated: m.GetSource().GetFileCreated()},
		ServerIDs: m.ServerIds, Before: positionFromWire(m.Before), After: positionFromWire(m.After),
		Transactions: m.Transactions, Events: m.Events, HeadBytes: m.HeadBytes, BodyBytes: m.BodyBytes,
		BodySHA256:  r.get(m.BodySha256),
		ChainBefore: r.get(m.ChainBefore), ChainAfter: r.get(m.ChainAfter),
		Tail: &Tail{GTID: m.GetTail().GetGtid(), Offset: m.GetTail().GetSourceOffset(), Bytes: m.GetTail().GetBytes(),
			SHA256: r.get(m.GetTail().GetSha256()), Before: positionFromWire(m.GetTail().GetBefore())},
		Stored: storedFromWire(m.Stored, &r), Sealed: unstamp(m.Sealed), CreatedBy: m.CreatedBy,
		Variables: m.ServerVariables,
	}
	if t := m.CommitTime; t != nil {
		s.Commit = TimeRange{First: unstamp(t.First), Last: unstamp(t.Last), Min: unstamp(t.Min), Max: unstamp(t.Max),
			Precision: t.Precision.AsDuration()}
	}
	if m.ManifestSha256 != "" {
		own, err := hex.DecodeString(m.ManifestSha256)
		if err != nil {
			return nil, err
		}
		s.Manifest = r.get(own)
	}
	s.Members = make([]Member, 0, len(m.Members))
	for _, b := range m.Members {
		s.Members = append(s.Members, Member{Number: b.Number, BodyBytes: b.BodyBytes, BodySHA256: r.get(b.BodySha256),
			ReceivedFirst: unstamp(b.ReceivedFirst), ReceivedLast: unstamp(b.ReceivedLast), Live: b.Live})
	}
	for _, b := range m.Barriers {
		s.Barriers = append(s.Barriers, Barrier{Kind: b.Kind, Offset: b.SourceOffset, GTID: b.Gtid, Time: unstamp(b.Time), What: b.What})
	}
	return s, r.err
}

// EncodeSegment returns a segment's manifest as it is stored. The archiver keeps sealed segments that
// are not uploaded yet in the same form.
func EncodeSegment(s *Segment) ([]byte, error) { return encode(segmentToWire(s)) }

// DecodeSegment is the inverse of EncodeSegment.
func DecodeSegment(data []byte) (*Segment, error) {
	m := newSegment()
	if err := decode(data, m); err != nil {
		return nil, err
	}
	return segmentFromWire(m)
}

func headToWire(h *Head, uuid string) *pb.Head {
	return &pb.Head{FormatVersion: FormatVersion, ClusterUuid: uuid, Timeline: h.Timeline, Sequence: h.Sequence,
		Segment: h.Segment, Chain: h.Chain[:], Position: positionToWire(h.Position), CoveredUntil: stamp(h.CoveredUntil),
		Written: stamp(h.Written), Writer: h.Writer}
}

func headFromWire(m *pb.Head) (*Head, error) {
	chain, err := digest(m.Chain)
	return &Head{Timeline: m.Timeline, Sequence: m.Sequence, Segment: m.Segment, Chain: chain,
		Position: positionFromWire(m.Position), CoveredUntil: unstamp(m.CoveredUntil), Written: unstamp(m.Written),
		Writer: m.Writer}, err
}

func baseToWire(b *Base) *pb.Base {
	m := &pb.Base{FormatVersion: FormatVersion, ClusterUuid: b.ClusterUUID, Id: b.ID, Engine: b.Engine,
		ToolVersion: b.ToolVersion, ServerVersion: b.ServerVersion, Flavor: flavorToWire(b.Flavor), ServerId: b.ServerID,
		ServerUuid: b.ServerUUID, Timeline: b.Timeline, PositionMin: positionToWire(b.PositionMin),
		PositionMax: positionToWire(b.PositionMax), SourceFile: b.Source.File, SourceOffset: b.Source.Offset,
		Segment: b.Segment, FromLsn: b.FromLSN, ToLsn: b.ToLSN, ServerVariables: b.Variables,
		PlainBytes: uint64(b.PlainBytes), Started: stamp(b.Started), Finished: stamp(b.Finished),
		Consistent: stamp(b.Consistent), Writer: b.Writer, CreatedBy: b.CreatedBy, EmptyTables: b.EmptyTables, UncopiedFiles: b.UncopiedFiles,
		KeepUntil: stamp(b.KeepUntil)}
	for _, p := range b.Parts {
		m.Parts = append(m.Parts, &pb.Part{Number: p.Number, PlainBytes: uint64(p.PlainBytes),
			PlainSha256: p.PlainSHA256[:], Stored: storedToWire(p.Stored)})
	}
	return m
}

func baseFromWire(m *pb.Base) (*Base, error) {
	var r digests
	b := &Base{ClusterUUID: m.ClusterUuid, ID: m.Id, Engine: m.Engine, ToolVersion: m.ToolVersion,
		ServerVersion: m.ServerVersion, Flavor: flavorFromWire(m.Flavor), ServerID: m.ServerId, ServerUUID: m.ServerUuid,
		Timeline: m.Timeline, PositionMin: positionFromWire(m.PositionMin), PositionMax: positionFromWire(m.PositionMax),
		Source: binlog.Point{File: m.SourceFile, Offset: m.SourceOffset}, Segment: m.Segment, FromLSN: m.FromLsn,
		ToLSN: m.ToLsn, Variables: m.ServerVariables, PlainBytes: int64(m.PlainBytes), Started: unstamp(m.Started),
		Finished: unstamp(m.Finished), Consistent: unstamp(m.Consistent), Writer: m.Writer, CreatedBy: m.CreatedBy,
		EmptyTables: m.EmptyTables, UncopiedFiles: m.UncopiedFiles, KeepUntil: unstamp(m.KeepUntil)}
	for _, p := range m.Parts {
		b.Parts = append(b.Parts, Part{Number: p.Number, PlainBytes: int64(p.PlainBytes),
			PlainSHA256: r.get(p.PlainSha256), Stored: storedFromWire(p.Stored, &r)})
	}
	return b, r.err
}
