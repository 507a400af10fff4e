package cli

import (
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logOptions are the flags of the log.
type logOptions struct{ level, format string }

// logger returns the log from a level on, which goes to standard error.
func (a *app) logger(least string) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(least)
	if err != nil || level > zapcore.ErrorLevel {
		return nil, usage(fmt.Sprintf("--log-level %q: write debug, info, warn or error", least), "tidemark")
	}
	format := a.log.format
	if format == "" {
		format = "text"
		if a.json {
			format = "json"
		}
	}
	cfg := zap.NewProductionEncoderConfig()
	cfg.TimeKey = "time"
	cfg.EncodeTime = func(t time.Time, e zapcore.PrimitiveArrayEncoder) {
		e.AppendString(t.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	cfg.EncodeDuration = zapcore.StringDurationEncoder
	var enc zapcore.Encoder
	switch format {
	case "json":
		enc = zapcore.NewJSONEncoder(cfg)
	case "text":
		cfg.EncodeLevel = zapcore.CapitalLevelEncoder
		cfg.ConsoleSeparator = " "
		enc = zapcore.NewConsoleEncoder(cfg)
	default:
		return nil, usage(fmt.Sprintf("--log-format %q: write text or json", format), "tidemark")
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(a.Stderr)), level), zap.WithClock(logClock{a.Clock})), nil
}

// logClock dates the log by the program's clock.
type logClock struct{ clock interface{ Now() time.Time } }

func (c logClock) Now() time.Time                         { return c.clock.Now() }
func (c logClock) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }
