"""Keys as services give them out, made at random from their published formats, and what only looks like one."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Iterator

_LOWER, _UPPER, _DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
_ALPHABETS = {
    "w": _LOWER + _UPPER + _DIGITS,
    "h": "0123456789abcdef",
    "H": "0123456789ABCDEF",
    "l": _LOWER + _DIGITS,
    "U": _UPPER + _DIGITS,
    "a": _LOWER + _UPPER,
    "d": _DIGITS,
    "_": _LOWER + _UPPER + _DIGITS + "_-",
    "b": _LOWER + _UPPER + _DIGITS + "+/",
}
# {w40}: forty letters and digits; {u}: a UUID. A caret parts a prefix, so that no scanner takes this file for a leak.
_ALONE = """
sk-ant-^api03-{_93}AA | sk-pro^j-{_74}T3BlbkFJ{_74} | sk-or-v1-^{h64} | gsk^_{w52} | xai^-{w80} | pplx^-{w48} | hf^_{a34} | r8^_{w37}
tvly^-dev-{w32} | jina^_{h32}{w28} | pcsk^_{w6}_{w63} | nvapi^-{_64} | llx^-{w48} | lsv2_pt_^{h32}_{h10} | sk-lf-^{u} | fw^_{w24}
AKIA^{U16} | ASIA^{U16} | ABSK^{b109}= | AIza^{_35} | ya29.^{_120} | GOCSPX^-{_28} | 1//0^{_80} | LTAI^{w20} | AKID^{w32}
dop_v1_^{h64} | doo_v1_^{h64} | DO00^{U16} | HRKU-^AA{_58} | fo1_^{_43} | nfp^_{w36} | rnd^_{w28} | tskey-auth-^{w11}-{w32}
SCW^{U17} | pul-^{h40} | {w14}.atlas^v1.{w67} | ghp^_{w36} | gho^_{w36} | ghs^_{w36} | github_pat_^{w22}_{w59} | glpat^-{_20}
glrt^-{_20} | gldt^-{_20} | glsoat^-{_20} | ATBB^{w32} | ATATT3xFfGF0^{_180} | npm^_{w36} | pypi-^AgEIcHlwaS5vcmc{_120} | rubygems_^{h48}
oy2^{l43} | dckr_pat_^{_27} | AKCp^{w69} | cmVmd^GtuO{w55} | bkua_^{h40} | CCIPAT_^{w22}_{h40} | squ^_{h40} | sgp_^{h40} | PMAK-^{h24}-{h34}
rdme_^{l70} | xoxb-^{d12}-{d13}-{w24} | xoxp-^{d12}-{d12}-{d13}-{h32} | xapp-1-^A{U10}-{d13}-{h64} | xoxe-1-^{w146}
https://hooks.slack.com/^services/T{U8}/B{U10}/{w24} | https://discord.com/api/^webhooks/{d18}/{_68} | SK^{h32}
SG^.{_22}.{_43} | key-^{h32} | xkeysib-^{h64}-{w16} | re_^{w8}_{w24} | mlsn.^{h64} | sk_live_^{w24} | rk_live_^{w99} | sk_test_^{w99}
whsec_^{w32} | sq0atp^-{_22} | sq0csp^-{_43} | EAAB^{w180} | access-production-^{u} | rzp_live_^{w14} | FLWSECK-^{h32}-X | shpat_^{h32}
shpss_^{h32} | shippo_live_^{h40} | EZAK^{w54} | duffel_live_^{_43} | dapi^{h32} | pscale_tkn_^{_43} | sbp_^{h40} | napi_^{l64} | xau_^{w40}
CCDB1_^{w22}_{w40} | glsa_^{w32}_{h8} | glc_^eyJ{b90} | NRAK-^{U27} | dt0c01.^{U24}.{U64} | sntrys_^eyJ{b120}_{b43} | hcaik_^01{l56}
phc_^{w43} | phx_^{w43} | sdk-^{u} | dp.pt.^{w43} | dp.st.prd.^{w43} | hvs.^{_95} | hvb.^{_140} | s.^{w24} | ops_^eyJ{b260} | AGE-SECRET-KEY-1^{U58}
A3-^{U6}-{U6}-{U5}-{U5}-{U5}-{U5} | VF.DM.^{h24}.{w16} | zpka_^{h32}_{h8} | waka_^{u} | aio_^{w28} | tr_prod_^{w20} | lin_api_^{w40}
ntn_^{d11}{w35} | secret_^{w43} | pat^{w14}.{h64} | figd_^{_40} | CFPAT-^{_43} | tfp_^{_44}_{_14} | pat-na1-^{u} | sk.eyJ^{w80}.{_22}
sl.^B{_137} | {d8}:AA^{_33} | MTE^{w21}.G{w5}.{_38} | {h32}-us^14 | eyJhbGciOiJIUzI1NiJ9.eyJ^{w60}.{_43} | {_3}8Q~^{_34} | {w76}AZDO^{w4}
sha256~^{_43} | FwoGZXIvYXdzE^{b200}= | live_^{w43} | ctp_^{w40} | bapi_^{w40} | e2b_^{h40} | fc-^{h32} | sk-^{h32} | csk-^{l48} | key_^{h60} | cal_live_^{h32}
whk_^{w43} | tok_live_^{w40} | bsk_prod_^{w44} | plat_sk_^{w32} | zk-^{w40} | org_pat_^{w32} | app_secret_^{h40} | vcst_^{w36} | rw_pk_^{w40}
ctx7sk-^{u} | apify_api_^{w36} | pdl_live_apikey_^{l26}_{w22}_{w3} | ntfy_tk_^{w29} | sm_pat_^{w16} | ey^J2ZXIiOiIyIn0.{_90} | cfut_^{w40}{h8}
""".replace("\n", " | ")
_NAMED = """
openai_api_key={w51} | MISTRAL_API_KEY={w32} | COHERE_API_KEY: {w40} | "azure_openai_key": "{h32}" | aws_secret_access_key = {b40}
AWS_SECRET_KEY="{b40}" | aws_session_token={b200}= | AccountKey={b86}==;Endpoint | SharedAccessKey={b43}= | DefaultEndpointsProtocol=https;AccountName=x;AccountKey={b86}==
twilio auth token {h32} | TWILIO_AUTH_TOKEN={h32} | heroku_api_key={u} | HEROKU_API_KEY: "{u}" | datadog_api_key: {h32} | DD_APP_KEY={h40}
fb_app_secret = '{h32}' | TWITTER_CONSUMER_SECRET={w50} | linkedin client_secret={w16} | spotify_client_secret = "{h32}" | OKTA_API_TOKEN=00{_40}
mailjet secret key {h32} | cloudflare_api_token = {_40} | CLOUDFLARE_GLOBAL_KEY={h37} | fastly key {_32} | algolia admin key: {h32} | sumologic_access_key={w64}
zendesk_api_token={w40} | pagerduty_token = "{_20}" | opsgenie api key {u} | travis token: {w22} | circleci_token={h40} | codecov_token={u}
shodan API {w32} | virustotal apikey {h64} | ipinfo token={h14} | maxmind_license_key={w16} | newsapi key {h32} | openweathermap appid={h32}
trello_key={h32} | trello token {h64} | asana secret {h32} | airtable key = key{w14} | jira_token: {w24} | confluence api token "{w24}" | bitbucket_client_secret={_32}
gitea_token={h40} | drone_token={w32} | NUGET_API_KEY={l46} | artifactory_password: {w24} | sonar_token={h40} | snyk token {u} | rollbar access_token: {h32}
bugsnag_api_key={h32} | honeybadger api_key: {l30} | mixpanel secret={h32} | amplitude_api_key: "{h32}" | segment write key {w32} | intercom_access_token={b60}=
x-api-key: {w40} | Authorization: Bearer {_48} | authorization: Basic {b40} | -H "X-Auth-Token: {h32}" | curl -u admin:{w20} https://h.example
"client_secret": "{w32}" | clientSecret: '{_36}' | JWT_SECRET={w48} | SECRET_KEY_BASE={h128} | session_secret: {w32} | encryption_key="{b43}="
api-key={h32} | apikey: {u} | ?api_key={w32}& | &token={w40} | signing_secret={h32} | webhook_secret = "{w32}" | hmac_key={h64} | private_token: {w20}
export VAULT_TOKEN={w26} | PASSWORD={w14} | "password": "{w14}" | password: {w10}!{w3} | DB_PASS='{w12}' | pwd={w16}; | --password {w14} | passphrase is "{w14}"
postgres://app:{w18}@db.example:5432/x | mongodb+srv://u:{w16}@c0.example.net | redis://:{w24}@cache.example:6379 | amqp://svc:{w14}@mq.example | ftp://joe:{w12}@ftp.example
Server=db;User Id=sa;Password={w14}; | jdbc:mysql://h/x?user=u&password={w14} | smtp_password = "{w16}" | sshpass -p {w14} ssh h | _authToken={w36} | machine h.example login joe password {w16}
"""
_IN_FILES = """
NOTION_API_SECRET=secret_^{w43} | "apiKey": "AIza^{_35}" | supabase anon eyJhbGciOiJIUzI1NiJ9.^{w100}.{_43} | SUPABASE_SERVICE_KEY=sb_secret_^{_31} | CLERK_SECRET_KEY=sk_test_^{w40} | sk_live_^{w32}
PUSHER_SECRET={h20} | ably key {w6}.{w6}:{_43} | PINECONE_API_KEY={u} | pcsk_^{w6}_{w62} | WANDB_API_KEY={h40} | ELEVEN_API_KEY=sk_^{h48}
doppler token dp.st.prd.^{w43} | infisical st.{u}.{h32}.{h32} | BUILDKITE_TOKEN=bkua_^{h40} | CIRCLE_TOKEN=CCIPAT_^{w22}_{h40} | codeclimate {h64} | bitrise token {_86}
PLAID_SECRET={h30} | SQUARE_ACCESS_TOKEN=EAAA^{_60} | COINBASE_API_SECRET={w32} | binance secret {w64} | kraken private key {b86}== | ADYEN_API_KEY=AQE^{_6}{b80}
x-goog-api-key: AIza^{_35} | X-RapidAPI-Key: {l50} | Ocp-Apim-Subscription-Key: {h32} | X-Figma-Token: figd_^{_40} | api-token: {w32} | X-Shopify-Access-Token: shpat_^{h32}
"secretAccessKey": "{b40}" | aws configure set aws_secret_access_key {b40} | AWS_SESSION_TOKEN=FwoGZXIvYXdzE^{b240} | "SecretAccessKey" : "{b40}" | secret_key={b40}
db_password: "{w10}#{w4}" | 'password' => '{w14}' | <Password>{w14}</Password> | PASSWORD '{w14}' | spring.mail.password={w16} | hibernate.connection.password={w14} | ALTER USER joe PASSWORD '{w14}'
https://joe:{w14}@git.example/x.git | sftp://joe:{w12}@h.example | smtp://apikey:SG.^{_22}.{_43}@smtp.example | ldap://cn=admin:{w14}@h | kafka sasl.jaas.config=X username="a" password="{w16}"; | nats://a:{w16}@h:4222
newtool_pat_^{w40} | acme_live_^{w32} | zz9-^{w36} | foo.^{_24}.{_32} | svc_key_^{h40} | bar_sk_^{u}
export DATADOG_API_KEY={h32} | DATADOG_APP_KEY: {h40} | api.telegram.org/bot{d10}:AA{_33}/sendMessage | https://{h32}@o12.ingest.sentry.io/123 | https://hooks.zapier.com/hooks/catch/{d7}/{l7}/ | https://outlook.office.com/webhook/{u}@{u}/IncomingWebhook/{h32}/{u}
stripe.api_key = "sk_live_^{w24}" | Stripe('rk_test_^{w24}') | github_token: ^gho_{w36} | https://x-access-token:ghs_^{w36}@github.com/a/b | git clone https://oauth2:glpat-^{_20}@gitlab.example/x | //npm.pkg.github.com/:_authToken=ghp_^{w36}
AZURE_STORAGE_KEY={b86}== | sig={w43}%3D&se=2025 | SharedAccessSignature sr=x&sig={w43}%3D&se=1 | azure_client_secret={_3}8Q~{_34} | AZURE_DEVOPS_PAT={l52} | azure cognitive key {h32}
GITHUB_CLIENT_SECRET={h40} | GOOGLE_CLIENT_SECRET=GOCSPX-^{_28} | "refresh_token": "1//0^{_60}" | FIREBASE_TOKEN=1//0^{_90} | fcm server key AAAA{_7}:APA91b{_134}
DISCORD_TOKEN=MTA{w21}.G{w5}.{_38} | discord webhook https://discordapp.com/api/webhooks/{d18}/{_68} | discord client secret {_32} | TWITCH_CLIENT_SECRET={l30} | twitch token oauth:{l30} | spotify secret {h32}
twilio sid AC{h32} | auth_token = "{h32}" | sendgrid password SG.^{_22}.{_43} | mailgun api key key-^{h32} | MAILCHIMP_API_KEY={h32}-us6 | mandrill md-^{_22}
postmark server token {u} | sparkpost {h40} | vonage secret {w16} | nexmo_api_secret={w16} | messagebird access key {w25} | plivo auth token {w60}
dropbox access token sl.^B{_140} | DROPBOX_APP_SECRET={l15} | box client secret {w32} | asana pat 1/{d16}:{h32} | notion token ntn_^{d11}{w35} | airtable token pat^{w14}.{h64}
LINEAR_API_KEY=lin_api_^{w40} | jira token ATATT3xFfGF0^{_172}={H8} | trello api token ATTA^{h64}{H8} | clickup pk_{d8}_{U32} | monday api token eyJhbGciOiJIUzI1NiJ9.^{w120}.{_43} | zendesk token {w40}
shopify secret shpss_^{h32} | square token EAAA^{_60} | paypal client secret E{_79} | braintree access_token$production$^{l16}${h32} | adyen key AQE^{_6}{b90} | razorpay secret {w24}
datadog {h32} | newrelic license {h36}NRAL | NEW_RELIC_USER_KEY=NRAK-^{U27} | SENTRY_AUTH_TOKEN={h64} | splunk hec token {u} | logzio token {w32}
cloudflare api key {h37} | CF_API_TOKEN={_40} | fastly token {_32} | DO_TOKEN=dop_v1_^{h64} | linode token {h64} | VULTR_API_KEY={U36}
HETZNER_TOKEN={w64} | scaleway secret {u} | heroku auth {u} | netlify token {_43} | VERCEL_TOKEN={w24} | RAILWAY_TOKEN={u}
MONGODB_URI=mongodb+srv://app:{w16}@c.example.net/db | DATABASE_URL=postgresql://u:{w16}@h/db | REDIS_URL=rediss://default:{w24}@h:6379 | mssql://sa:{w14}@h | snowflake://u:{w14}@acct/db | clickhouse://d:{w16}@h
htpasswd joe:$2y$05${w53} | $argon2id$v=19$m=65536,t=3,p=4${b22}${b43} | {SSHA}{b32} | pbkdf2_sha256$600000${w22}${b43}= | $krb5tgs$23$*u$R$s*${h32}${h120} | $ml$1000${h64}${h128}
WIREGUARD PrivateKey = {b43}= | PresharedKey = {b43}= | age-secret AGE-SECRET-KEY-1^{U58} | ansible_password: {w14} | kubernetes token eyJhbGciOiJSUzI1NiIsImtpZCI6I^{w40}.{_200}.{_342}
openssl enc -k {w16} | gpg --passphrase {w16} | zip -P {w12} a.zip | 7z x -p{w12} a.7z | ldapsearch -w {w14} | mysql --password={w14} | psql "password={w14} host=h" | curl -H "PRIVATE-TOKEN: {_20}" h | curl -H "X-Vault-Token: {w26}" h | curl -d "client_secret={_32}" h
{"auths":{"https://r.example/v1/":{"auth":"{b40}=="}}} | $mail->Password = '{w12}'; | Driver={x};Server=h;UID=u;PWD={w14}; | REACT_APP_PASSWORD={w12} | PrivateKey = {b43}=
spring.datasource.password={w14} | //r.example/:_auth={b40}= | registry _authToken="{w36}" | root:$6$rounds=5000${w16}${w86}:19000:0 | joe:$apr1${w8}${w22} | $2b$12${w53}
net user joe {w10}!9 /add | ConvertTo-SecureString "{w14}" -AsPlainText | IDENTIFIED BY '{w14}' | CREATE USER u WITH PASSWORD '{w14}' | requirepass {w20} | PGPASSWORD={w14} psql
MYSQL_PWD={w14} mysqldump | <password>{w14}</password> | <add key="Password" value="{w14}"/> | openssl rsa -passin pass:{w14} | keytool -storepass {w14} | wget --http-password={w14} u
redis-cli -a {w20} ping | ansible_ssh_pass={w14} | ansible_become_password: {w14} | docker login -u joe -p {w20} r.example | mysql -u root -p{w14} db | plink -pw {w14} h
smbclient -U joe%{w14} | xfreerdp /v:h /u:joe /p:{w14} | az login --service-principal -u a -p {_34} | sqlplus scott/{w12}@db | kubeadm join 10.0.0.1:6443 --token {l6}.{l16} | curl --user joe:{w14} h
sauce labs access key {u} | SAUCE_ACCESS_KEY={u} | heroku {u} | linkedin secret {w16} | http://thingsboard.example/api/v1/{w20}/telemetry | Connect-VIServer -User a -Password {w14} | particle access_token {h40}
GOOG1E{U57} | {d12}-{l32}.apps.googleusercontent.com | AKIA{U16} {b40} | -----BEGIN PRIVATE KEY-----{b400}-----END PRIVATE KEY----- | <client_secret>{w32}</client_secret> | token: !!binary {b60}
export TF_VAR_db_password="{w14}" | ENV API_TOKEN={w32} | - name: API_KEY\\n  value: {w32} | "Authorization", "Token {h40}" | headers={'X-Api-Key': '{w32}'} | set_cookie sessionid={l32}; | Cookie: session={w40}
"""
_HARMLESS = """
workspace ID (for example `wrkspc_01{w22}`) | client_secret: SessionClientSecret | userId=usrx_{w24} | Signature algorithm: sha256WithRSAEncryption | the signature {_43} is wrong
"engines": {"node": ">=18.0.0"} | dependency "left-pad" "^1.3.0" | Cargo.lock checksum = "{h64}" | hashes: sha256:{h64} \\ | PackageReference Include="X" Version="6.0.1" | <AssemblyKeyFile>key.snk</AssemblyKeyFile>
aria-describedby="password-help-text" | data-testid="login-submit-button-primary" | placeholder="Enter your password" | i18n: auth.errors.invalid_token_message | label for="api_token_field" | className="token-list__item--active"
SELECT token_id, secret_name FROM secrets WHERE id = 42 | CREATE INDEX idx_access_token_user_id ON t | ALTER TABLE api_keys ADD COLUMN rotated_at | PRIMARY KEY (user_id, created_at) | FOREIGN KEY (session_id) REFERENCES sessions | UNIQUE KEY uniq_email_hash
git log: {h7} fix login redirect | Merge pull request #1234 from org/feature-token-refresh | Signed-off-by: key rotation bot | release-notes-2024-11-22-v3 | branch feature/JIRA-1234-api-key-rotation | tag v10.2.3-beta.4
terraform: key = "env/prod/terraform.tfstate" | bucket = "my-terraform-state-prod-1234" | secret_id = aws_secretsmanager_secret.db.id | key_vault_id = azurerm_key_vault.main.id | kms_key_id = "alias/aws/rds" | ssm_parameter = "/prod/app/db_password"
uuid: {u} | "eventId":"{u}" | order={u} | <Guid>{u}</Guid> | session {h32} closed | nodeId: {h24} | span={h16} | block {h64} mined | txid {h64} | merkle_root: {h64}
int key = keys[i]; | if (token == null) return; | for (String key : map.keySet()) | tokenStream.next() | assertEquals(expectedToken, actualToken); | throw new InvalidKeyException("bad key"); | keyGenerator.init(256) | new SecretKeySpec(bytes, "AES")
password = getpass.getpass() | password = input("Password: ") | pwd = os.getcwd() | token = request.headers.get("X-Token") | secret = fetch_secret(name) | api_key = api_key or default_key | credentials = service_account.from_file(path)
Content-Type: multipart/form-data; boundary=----WebKitFormBoundary{w16} | ETag: "{h32}-12" | Set-Cookie: theme=dark; Path=/ | Cache-Control: max-age=31536000 | User-Agent: curl/8.4.0 | Accept-Encoding: gzip, deflate, br
ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx | glpat-XXXXXXXXXXXXXXXXXXXX | sk_test_XXXXXXXXXXXXXXXXXXXXXXXX | AKIAXXXXXXXXXXXXXXXX | AIzaXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX | npm_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx | SG.xxxxxxxx.yyyyyyyy | xoxb-your-token-here | hvs.<your-token> | dop_v1_<token>
sk-fading-circle-animation-delay | hf_getTokenFromLocalStorageOrNull | pk_validate_public_key_signature | gho_stModeEnabledForAllUsersInGroup | key-value-pair-store-backend-service | pat-tern-matching-library-for-rust | dapi_register_device_driver_callback | glc_renderTriangleStripWithTexture | re_compile_internal_pattern_buffer | sq_apply_filter_to_list_of_columns
GOOGLE_API_KEY=your-google-api-key | "client_secret": "<client-secret>" | secret: "{{ .Values.auth.secret }}" | token = "${var.github_token}" | api_key = settings.API_KEY | AWS_ACCESS_KEY_ID=${AWS_ACCESS_KEY_ID} | password: !vault-encrypted | token: $(cat /run/secrets/token) | key: !Ref KmsKey | Authorization: Bearer ${TOKEN}
Authorization: Bearer YOUR_ACCESS_TOKEN | -H 'X-API-Key: <key>' | bearer authentication is required for this endpoint | Token expired at 2024-11-22T09:15:00Z | invalid api key provided: 401 | key not found in map | "key": "value" | api_key parameter missing | token_endpoint_auth_method=client_secret_basic | secretKeyRef: name: db
const API_KEY_HEADER = 'X-Api-Key-Header' | private static final String TOKEN_PREFIX = "Bearer "; | String tokenType = "access_token"; | self.secret_key_fingerprint | class TokenAuthenticationBackend(BaseBackend) | import { AccessTokenProvider } from './auth' | export const authTokenSelector = createSelector | keyCodeEnterPressed: boolean | apiKeyInputPlaceholder: "Enter API key" | tokenCountPerMessage = 2048
"resolved": "https://registry.example/lodash/-/lodash-4.17.21.tgz#{h40}" | checksum = "{h64}" | hash: {h40} | "sha1": "{h40}" | Digest: sha256:{h64} | X-Amz-Content-Sha256: {h64} | layer {h12}: pull complete | git checkout {h40} | refs/heads/main {h40} | objectid {h24}
cacheKey: "{h32}" | "contentHash": "{h20}" | build_id={h32} | install_id: {u} | device_id={u} | session started {u} | tenantId: {u} | subscription_id = "{u}" | project id: {d12} | client_id: {d12}
vpc-{h17} | subnet-{h17} | sg-{h17} | ami-{h17} | eipalloc-{h17} | arn:aws:s3:::bucket-{h12}/key.json | s3://bucket/{u}/file.parquet | projects/p/locations/l/keyRings/r/cryptoKeys/k | kms key alias/prod-signing-key
-----BEGIN PUBLIC KEY-----{b200}-----END PUBLIC KEY----- | -----BEGIN CERTIFICATE-----{b300}-----END CERTIFICATE----- | ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ{b300} joe@laptop | ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY{b100}= | Public-Key-Pins: pin-sha256="{b43}=" | "n":"{_342}","e":"AQAB" | x5t: "{_27}" | did:key:z6Mk{w44} | pubkey: {h64} | public_key: "{b43}="
data:image/png;base64,iVBORw0KGgo{b200} | src="data:font/woff2;base64,d09GMg{b200}" | <path d="M10.5 20.3c1.2-3.4 5.6-7.8 9.1-2.3z"/> | #a1b2c3d4 | rgba(12,34,56,0.7) | transform:translate3d(0,0,0) | .css-{l8}-MuiButton-root | _next/static/{_21}/pages/index.js | main.{h20}.chunk.js | webpackChunk{w8}
The key to success is persistence. | token of appreciation | A secret garden | She has access to the building | pass the salt | login at noon | what is the nonce used for? | the signature of the contract | Please sign in with your password | Cookies are important to us
sequence_token 49039859585634852 | nextToken=page2 | page_token: 3 | csrf token missing | "max_tokens": 512 | token limit exceeded 8192 | stop_token_ids: [32000, 32001] | pad_token="<pad>" | eos_token_id=2 | special tokens: [CLS] [SEP]
error code 0x80070005 | GUID {{u}} | CLSID\\{{u}} | HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft | {u} - - [22/Nov/2024] | traceparent: 00-{h32}-{h16}-01 | X-Request-Id: {h32} | etag W/"{h32}" | x-amz-id-2: {b70}= | CF-RAY: {h16}-FRA
commit {h40} | sha256:{h64} | "integrity": "sha512-{b86}==" | md5sum {h32}  file.iso | etag: "{h32}" | revision = "{h40}" | go.sum h1:{b43}=
requestId: {u} | trace_id={h32} span_id={h16} | correlation-id {u} | job {u} failed | key: {u} | primary_key={u} | "cache_key": "{h40}" | idempotency_key={u}
public_key = {b43}= | ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{b43} joe@host | publicKeyToken={h16} | fingerprint SHA256:{b43} | tokenizer_hash: {h64}
image@sha256:{h64} | <script integrity="sha384-{b64}"> | background: url(data:image/png;base64,{b120}) | app.{h20}.js | /static/{h32}.png | chunk-{h8}.css
chatcmpl-{w29} | msg_01{w22} | toolu_01{w22} | cus_{w14} | pi_{w24} | evt_{w24} | call_{w24} | run_{w24} | vpc-0{h16} | i-0{h16} | arn:aws:iam::{d12}:role/x
token_type=bearer | token_url: https://auth.example/oauth/token | "tokens": 1024 | max_tokens=4096 | token_count: 123456789 | tokenizer = AutoTokenizer | access_token_expires_in=3600
api_key = os.environ["OPENAI_API_KEY"] | apiKey: process.env.API_KEY | key = config.get("secret") | token: ${GITHUB_TOKEN} | password: {{ vault_password }} | secret = var.db_secret | api_key=$API_KEY
api_key = "YOUR_API_KEY" | token: <your-token-here> | password=changeme | SECRET=xxxxxxxxxxxxxxxx | api_key: "********" | "apiKey": "insert-key-here" | password: REDACTED | key=0000000000000000
secretName: my-app-tls-secret | keySelector=function(a) | KeyboardInterrupt: stop | monkey: bananas | keyspace events_by_day | accessKeyId | credential_source = Ec2InstanceMetadata
password reset link was sent | The password must have 12 characters | forgot password? | passwordField = findViewById | password_hash_algorithm: bcrypt | pass 3 of 5 | bypass the secret door
kubectl get secret db-credentials -o yaml | aws secretsmanager get-secret-value --secret-id prod/app | gh auth token | docker login -u joe --password-stdin | vault kv get secret/app
sort_key = created_at | partition key order_id | foreign key customer_number | turkey sandwich 2024 | "keyId": "alias/aws/s3" | signature verified at 12:30:45 | session_id cookie expires
version = "1.2.3-rc.4+build.5678" | release v2024.11.22-1234 | node_modules/react@18.2.0 | Mozilla/5.0 (X11; Linux x86_64) | rc0.15.0_20231217_1420-SNAPSHOT | org.slf4j:slf4j-api:jar:2.0.9
AuthenticationSuccessHandlerImpl | WebSecurityConfigurerAdapter | accessibilityLabel="closeButton12" | privateKeyPemFileLocation | authorizationEndpointUri=x | apiVersion: networking.k8s.io/v1
"""


def _value(form: str, source: random.Random) -> tuple[str, int, int]:
    """Return what a form stands for, and where its value lies: from its first random part to its last."""
    text, first, last, at = "", -1, -1, 0
    while at < len(form):
        end = form.find("}", at)
        if form[at] != "{" or end < 0 or not (form[at + 1 : end] == "u" or form[at + 2 : end].isdigit()):
            text += form[at]
            at += 1
            continue
        piece = (
            str(uuid.UUID(int=source.getrandbits(128), version=4))
            if form[at + 1] == "u"
            else _drawn(form[at + 1 : end], source)
        )
        first = len(text) if first < 0 else first
        text += piece
        last = len(text)
        at = end + 1
    return text, first, last


def _drawn(form: str, source: random.Random) -> str:
    """With a digit in it, as nearly all have."""
    alphabet, length = _ALPHABETS[form[0]], int(form[1:])
    drawn = [source.choice(alphabet) for _ in range(length)]
    if alphabet[0] != "a" or _DIGITS[0] in alphabet:
        drawn[length // 2] = source.choice(_DIGITS)
    return "".join(drawn)


def _lines(forms: str, seed: int) -> Iterator[tuple[str, int, int]]:
    source = random.Random(seed)
    for form in forms.replace("\n", " | ").split(" | "):
        if form.strip():
            yield _value(form.strip().replace("^", ""), source)


def keys_alone(seed: int) -> list[tuple[str, int, int]]:
    """Text, start and end of its key: known by its form alone."""
    return list(_lines(_ALONE, seed))


def keys_by_context(seed: int) -> list[tuple[str, int, int]]:
    """Known by the words before it."""
    return list(_lines(_NAMED, seed))


def keys_in_files(seed: int) -> list[tuple[str, int, int]]:
    """As configuration files, command lines and programs have them."""
    return list(_lines(_IN_FILES, seed))


def harmless(seed: int) -> list[str]:
    """Hashes, ids, references, placeholders and names of code: nothing that anybody could use."""
    return [text for text, _, _ in _lines(_HARMLESS, seed)]
