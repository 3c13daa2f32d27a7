#!/usr/bin/env bash
# Builds the bundled fonts in the given directory. Needs apt-get, dpkg-deb, npm and python3 with the module `venv`.
set -euo pipefail
out=$(realpath "${1:?give the folder to write to}")
here=$(realpath "$(dirname "$0")")
cd "$(mktemp -d)"

python3 -m venv venv
venv/bin/pip install --quiet fonttools==4.68.0

subset() { venv/bin/pyftsubset "$@" --no-hinting --notdef-outline; }

# Prints the file of the medium weight from a package of Google's fonts.
medium() {
  npm pack --silent "@expo-google-fonts/$1" >/dev/null
  mkdir "${1%@*}"
  tar xzf expo-google-fonts-"${1%@*}"-*.tgz -C "${1%@*}"
  echo "${1%@*}"/package/500Medium/*_500Medium.ttf
}

subset "$(medium noto-sans@0.4.2)" --output-file="$out/NotoSans.ttf" \
  --layout-features=ccmp,locl,kern,liga,mark,mkmk,rlig \
  --unicodes=U+20-52F,U+1AB0-1AFF,U+1E00-1FFF,U+2000-2BFF,U+2C60-2C7F,U+2DE0-2E7F,U+A640-A69F,U+A720-A7FF,U+FB00-FB06,U+FE20-FE2F,U+FFFC,U+FFFD

for font in Arabic:noto-sans-arabic@0.4.3 Hebrew:noto-sans-hebrew@0.4.1 Thai:noto-sans-thai@0.4.2 Devanagari:noto-sans-devanagari@0.4.1 \
  Bengali:noto-sans-bengali@0.4.4 Tamil:noto-sans-tamil@0.4.3; do
  subset "$(medium "${font#*:}")" --output-file="$out/NotoSans${font%%:*}.ttf" --unicodes='*' --layout-features='*'
done
venv/bin/python "$here/bengali.py" "$out/NotoSansBengali.ttf"
subset "$(medium noto-emoji@0.4.7)" --output-file="$out/NotoEmoji.ttf" --unicodes='*' --layout-features='*'

# Version 1:20220127+repack1-1. The third font of the collection has the forms of simplified Chinese.
apt-get download --quiet fonts-noto-cjk-extra
dpkg-deb -x fonts-noto-cjk-extra_*.deb cjk
venv/bin/python "$here/characters.py" > characters.txt
subset cjk/usr/share/fonts/opentype/noto/NotoSansCJK-Medium.ttc --font-number=2 --text-file=characters.txt \
  --layout-features=ccmp,ljmo,vjmo,tjmo --output-file="$out/NotoSansCJK.otf"
# The first font has the Japanese forms.
venv/bin/python "$here/japanese.py" cjk/usr/share/fonts/opentype/noto/NotoSansCJK-Medium.ttc > japanese.txt
subset cjk/usr/share/fonts/opentype/noto/NotoSansCJK-Medium.ttc --font-number=0 --text-file=japanese.txt \
  --layout-features=ccmp --output-file="$out/NotoSansCJKJapanese.otf"
