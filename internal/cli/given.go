package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidemark/internal/fault"
	"tidemark/internal/walltime"
)

// checkGiven refuses a flag or an argument that is given and empty: nobody means that, it is a variable of a
// script that is not set. Taken for one that is left out it would mean something else: all that is archived
// in place of a target, the one cluster of the configuration in place of the one that is named.
func checkGiven(cmd *cobra.Command, args []string) error {
	var empty string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			if strings.TrimSpace(v) == "" && empty == "" {
				empty = "--" + f.Name
			}
		}
	})
	if empty != "" {
		return fault.New(fault.Usage, "", "", fmt.Errorf("%s is given without a value", empty)).
			WithHint("Give it a value, or leave the flag out. Is a variable of your script not set?")
	}
	for i, arg := range args {
		if strings.TrimSpace(arg) == "" {
			return fault.New(fault.Usage, "", "", fmt.Errorf("argument %d is empty", i+1)).
				WithHint("Give it a value, or leave it out. Is a variable of your script not set?")
		}
	}
	return nil
}

// moment reads the time that a flag was given; the zero one if it was not. Where the text alone does not say
// which moment it is, how it was read is told on standard error, and returned.
func (a *app) moment(flag, text string) (t time.Time, read string, err error) {
	if text == "" {
		return t, "", nil
	}
	zone := a.Zone
	if zone == nil {
		zone = time.Local
	}
	m, err := walltime.Reader{Now: a.Clock.Now(), Zone: zone}.Read(text)
	if err != nil {
		return t, "", fault.New(fault.Usage, "", "--"+flag, err).WithHint(fault.HintOf(err))
	}
	if m.How == "" {
		return m.Time, "", nil
	}
	if a.json {
		a.encode(a.Stderr, struct {
			Flag string    `json:"flag"`
			Text string    `json:"text"`
			Time time.Time `json:"time"`
			Read string    `json:"read"`
		}{"--" + flag, text, m.Time, m.String()})
	} else {
		fmt.Fprintf(a.Stderr, "--%s %s is %s\n", flag, text, m)
	}
	return m.Time, m.String(), nil
}
