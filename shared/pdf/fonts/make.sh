#!/usr/bin/env bash
# Makes the report's fonts: subsets of Noto as Debian ships it, without hinting, all together below 1 MB.
# Needs Debian's packages fonts-noto-core and fonts-noto-mono (20201225-1) and `pip install fonttools==4.68.0`.
# Usage: make.sh FOLDER, where FOLDER has the Noto .ttf files (/usr/share/fonts/truetype/noto).
set -euo pipefail
noto=${1:-/usr/share/fonts/truetype/noto}
here=$(cd "$(dirname "$0")" && pwd)

# Latin with its extensions, IPA, combining marks, Greek, Cyrillic, punctuation, super- and subscripts, currencies,
# letterlike signs, number forms and ligatures that are characters.
# Without U+0338: with it, "not equal" is composed of "=" and a stroke beside it instead of taken from the mono font.
text=U+0020-007E,U+00A0-0337,U+0339-052F,U+1E00-1FFF,U+2010-2027,U+202F-205E,U+2070-209C,U+20A0-20BF,U+2100-218B
text+=,U+FB00-FB06
# What only the mono font has of these: arrows, mathematics, technical signs, boxes, blocks and shapes.
signs=U+0338,U+2190-23FF,U+2500-27BF

subset() { # NAME UNICODES [OPTION...]
  local name=$1 unicodes=$2
  shift 2
  # --no-recalc-timestamp: the same bytes on every day.
  pyftsubset "$noto/$name.ttf" --output-file="$here/$name.ttf" --unicodes="$unicodes" \
    --no-hinting --no-recalc-timestamp --notdef-outline --name-IDs=0,1,2,3,4,5,6,13,14 "$@"
}

subset NotoSans-Regular "$text"
subset NotoSans-Bold "$text"
# Source code must be seen as it is: no ligatures.
subset NotoSansMono-Regular "$text,$signs" --layout-features-=liga,clig,calt
subset NotoSansHebrew-Regular U+0590-05FF,U+20AA,U+FB1D-FB4F
subset NotoSansArabic-Regular U+0600-06FF,U+0750-077F
subset NotoSansSymbols2-Regular U+2600-27BF
