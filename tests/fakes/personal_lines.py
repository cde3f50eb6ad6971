"""Lines as people write them, each value marked ``[type|value]``. Written for the tests: no data set, no real person."""

from __future__ import annotations

import re

from msgspec import Struct

_MARK = re.compile(r"\[([a-z_]+)\|(.*?)\]")


class Line(Struct, frozen=True):
    """``values`` are (start, end, type) of ``text``."""

    text: str
    values: tuple[tuple[int, int, str], ...]


def read(marked: str) -> Line:
    """The line without its marks."""
    text, values, done = "", [], 0
    for match in _MARK.finditer(marked):
        text += marked[done : match.start()]
        values.append((len(text), len(text) + len(match[2]), match[1]))
        text += match[2]
        done = match.end()
    return Line(text + marked[done:], tuple(values))


_WRITTEN = r"""
My address is [email|ada.lovelace@analytical.example], write any time.
Reach me at [email|j.o'neill+spam@mail.example.ie]; thanks.
<[email|first.last@sub-domain.example.co.jp]> wrote:
mailto:[email|sales@firma.example]?subject=hi
Cc: [email|a@b.co],[email|c_d@e-f.museum]
[email|user%tag@host.example.org] (old form)
Kontakt: [email|jörg.müller@straße.example]
to="[email|x.y@z.example]"
login [email|UPPER.CASE@EXAMPLE.COM] failed twice
{"contact":"[email|ops@status.example.io]"}
Send it to [email|bob@example.travel]. He waits.
https://h.example/unsubscribe?u=[email|kim%40example.org]
Ring [phone|+44 7700 900123] after six.
UK office: [phone|(020) 7946 0018]
[phone|+33 1 70 18 99 00] (Paris)
[phone|+33170189900]
Mobil: [phone|0176 04069012]
Tel. [phone|+49-30-23125-0]
Büro [phone|+43 1 5880 500]
Natel [phone|079 123 45 67]
[phone|+41 44 668 18 00], Zürich
Tfno. [phone|912 345 678]
móvil [phone|+34 612 345 678]
cellulare [phone|+39 347 123 4567]
tel [phone|02 1234 5678]
[phone|+31 20 794 0956]
telefoon: [phone|010-1234567]
Tlf. [phone|22 86 44 00]
[phone|+46 8 123 456 78]
puhelin [phone|+358 9 42720011]
[phone|+45 32 12 34 56]
tel. kom. [phone|+48 601 234 567]
[phone|+420 601 123 456]
[phone|+36 1 429 5555]
тел. [phone|+7 (495) 123-45-67]
[phone|+380 44 123 45 67]
[phone|+90 212 123 45 67]
[phone|+972 3 123 4567]
[phone|+971 4 123 4567]
call [phone|+91 98765 43210]
[phone|+86 10 1234 5678]
携帯 [phone|+81 90-1234-5678]
[phone|+82 2-312-3456]
[phone|+65 6123 4567]
[phone|+61 2 5550 4321]
my mobile is [phone|0491 570 156]
[phone|+64 9 123 4567]
[phone|+55 11 91234-5678]
fone: [phone|(11) 91234-5678]
[phone|+52 55 1234 5678]
[phone|+54 9 11 1234-5678]
[phone|+27 21 123 4567]
[phone|+234 803 123 4567]
[phone|+254 712 345678]
1-800 number: [phone|1-800-555-0199]
[phone|(212) 555-0147 x 204]
[phone|212.555.0147 ext 9]
text me: [phone|2125550147]
fax no [phone|555-0147]
emergency contact [phone|+1 646 555 0110]
"phoneNumber": "[phone|+12125550147]"
ph# [phone|212-555-0162]
Card [card|4012 8888 8888 1881] exp 04/29
visa [card|4012888888881881]
[card|5105-1051-0510-5100]
amex [card|3714 496353 98431]
[card|378282246310005]
Discover: [card|6011 1111 1111 1117]
JCB [card|3530111333300000]
Maestro [card|6759649826438453]
[card|6200000000000005]
pan=[card|2223003122003222]&cvv
diners [card|3852 000002 3237]
IBAN [iban|DE75 5121 0800 1245 1261 99]
[iban|FR76 3000 6000 0112 3456 7890 189]
iban:[iban|ES7921000813610123456789]
[iban|IT60 X054 2811 1010 0000 0123 456]
[iban|NL02ABNA0123456789]
[iban|BE71 0961 2345 6769]
[iban|AT48 3200 0000 1234 5864]
[iban|CH56 0483 5012 3456 7800 9]
[iban|PL10105000997603123456789123]
[iban|PT50 0002 0123 1234 5678 9015 4]
[iban|SE72 8000 0810 3400 0978 3242]
[iban|NO83 3000 1234 567]
[iban|DK95 2000 0123 4567 89]
[iban|FI14 1009 3000 1234 58]
[iban|IE64 IRCE 9205 0112 3456 78]
[iban|GB33BUKB20201555555555]
[iban|CZ55 0800 0000 0012 3456 7899]
[iban|GR96 0810 0010 0000 0123 4567 890]
[iban|HU93 1160 0006 0000 0000 1234 5676]
[iban|RO66 BACX 0000 0012 3456 7890]
[iban|SA44 2000 0001 2345 6789 1234]
[iban|AE46 0090 0000 0012 3456 789]
[iban|TR32 0010 0099 9990 1234 5678 90]
[iban|BR15 0000 0000 0000 1093 2840 814P 2]
[iban|UA90 3052 9929 9000 4149 1234 5678 9]
account number [bank_account|0012345678] at the branch
routing [routing_number|021000021]
sort code [bank_account|20-00-00]
account [bank_account|55779911] at the same bank
SSN [us_ssn|219-09-9999]
her social security number is [us_ssn|457 55 5462]
ssn=[us_ssn|457555462]
NI number [national_id|JG 10 37 59 A]
SIN [national_id|130 692 544]
DNI [national_id|12345678Z]
NIE: [national_id|X1234567L]
CPF [national_id|529.982.247-25]
CNPJ [tax_id|11.222.333/0001-81]
PESEL [national_id|44051401359]
BSN [national_id|111222333]
CF [national_id|RSSMRA85T10A562S]
personnummer [national_id|811228-9874]
HETU [national_id|131052-308T]
Aadhaar [national_id|2341 2341 2346]
PAN [tax_id|ABCPE1234F]
NRIC [national_id|S1234567D]
NHS number [medical_id|943 476 5919]
Medicare card [medical_id|2123 45670 1]
TFN [tax_id|123 456 782]
ABN [tax_id|51 824 753 556]
AHV [national_id|756.9217.0769.85]
Steuer-ID [tax_id|86 095 742 719]
USt-IdNr. [tax_id|DE136695976]
NIR [national_id|2 55 08 14 168 025 38]
RUT [national_id|12.678.579-5]
CURP [national_id|BOXW310820HNERXN09]
TC Kimlik No [national_id|10000000146]
身份证号 [national_id|11010519491231002X]
주민등록번호 [national_id|900101-1234568]
ID number [national_id|8001015009087] (RSA)
rijksregisternummer [national_id|85.07.30-033.28]
EIN [tax_id|12-3456789]
passport no. [passport|C01X00T47]
Passport number: [passport|533380006]
Reisepass [passport|C4J2K9RT1]
driver's license [driving_licence|D6101-40706-60905]
DL no: [driving_licence|S530-4609-0123-45]
MRN: [medical_id|MR-48213377]
patient id [medical_id|PT100482]
insurance policy number [medical_id|XJH482913301]
DEA [medical_id|AB1234563]
NPI [medical_id|1245319599]
from [ip|203.0.113.77] port 22
[ip|2001:0db8:85a3::8a2e:0370:7334]
client=[ip|198.51.100.23]:443
subnet [ip|172.16.0.0/12]
hwaddr [mac|3c:22:fb:9a:1e:07]
[mac|3C-22-FB-9A-1E-07]
[mac|3c22.fb9a.1e07]
at [coordinates|48.85837, 2.29448]
lat=[coordinates|40.6892], lon=[coordinates|-74.0445]
[coordinates|51°30'26"N 0°7'39"W]
DOB [date_of_birth|07/04/1981]
born on [date_of_birth|4 July 1981]
date of birth: [date_of_birth|1981-07-04]
geboren am [date_of_birth|04.07.1981]
née le [date_of_birth|4 juillet 1981]
BTC [crypto_wallet|1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa]
[crypto_wallet|bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq]
ETH [crypto_wallet|0x52908400098527886E0F7030069857D2E4169EE7]
see [url|https://people.adalovelace.dev/~ada/cv.html] first
[url|www.ada-lovelace.com] has more
Write to [email|bob (at) example (dot) org] please
[email|carol (at) mail.example (dot) com]
[email|dave {at} example.net]
[phone|+33.1.70.18.99.00]
[phone|+1.212.555.0147]
dial [phone|0044 20 7946 0018]
[phone|(+44) 20 7946 0018]
[phone|+44(0)20 7946 0018]
[phone|020-7946-0018]
tel:[phone|+1-201-555-0123]
p: [phone|212-555-0119] | f: [phone|212-555-0120]
m [phone|07700 900123]
call [phone|07700900123]
mobile [phone|9876543210]
tel [phone|612 34 56 78]
Doe,John,1980-05-04,[us_ssn|219-09-9999],[email|john@x.example],[card|4012888888881881]
"ssn":"[us_ssn|219099999]"
SSN [us_ssn|219.09.9999]
https://[[ip|2001:db8::17]]:443/
[card|4012-8888-8888-1881]
card ending, full number [card|4012.8888.8888.1881]
iban [iban|de75512108001245126199]
[iban|FR1420041010050500013M02606]
the wifi password is [password|hunter2!]
pw: [password|Tr0ub4dor&3]
password=[password|S3cr3tPa55]
user: joe pass: [password|k9#Lm2!x]
Passwort: [password|Geh3imnis!]
mot de passe : [password|Ch4tNoir!]
contraseña: [password|P3rr0Azul]
mongodb://[url_credentials|root:x8Kd92mQ]@db.example:27017
Your one-time login: [email|alice@example.org] / [password|Zx81!spectrum]
"""
LINES = tuple(map(read, _WRITTEN.strip().split("\n")))
