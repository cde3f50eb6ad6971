"""Texts in several scripts and kinds, as files of records hold them. They were written for this test."""

from __future__ import annotations

TEXTS = {
    "english": "The parcel arrived two days late, and the box was open. I wrote to the shop on Monday; nobody has answered "
    "so far. Could you please tell me whether the replacement has been sent, and how I can return the broken lamp?",
    "german": "Das Paket kam zwei Tage zu spät, und die Schachtel war offen. Am Montag habe ich dem Geschäft geschrieben, "
    "bisher hat niemand geantwortet. Können Sie mir bitte sagen, ob der Ersatz schon verschickt wurde?",
    "french": "Le colis est arrivé avec deux jours de retard et la boîte était ouverte. J'ai écrit au magasin lundi, "
    "personne n'a répondu jusqu'à présent. Pourriez-vous me dire si le remplacement a déjà été envoyé ?",
    "russian": "Посылка пришла на два дня позже, и коробка была открыта. В понедельник я написал в магазин, но мне до сих "
    "пор никто не ответил. Скажите, пожалуйста, отправили ли вы замену и как вернуть сломанную лампу?",
    "japanese": "荷物は二日遅れて届き、箱は開いていました。月曜日に店に連絡しましたが、まだ誰からも返事がありません。交換品はもう発送"
    "されたのか、壊れたランプをどうやって返せばよいのか教えてください。",
    "chinese": "包裹晚到了两天，而且盒子是打开的。我星期一给商店写了信，到现在还没有人回复。请告诉我替换品是否已经寄出，以及我应该如何"
    "退回坏掉的灯。",
    "korean": "소포가 이틀 늦게 도착했고 상자는 열려 있었습니다. 월요일에 가게에 문의했지만 아직 아무도 답하지 않았습니다. 교환 제품이 "
    "발송되었는지, 고장 난 램프를 어떻게 반품하는지 알려 주세요.",
    "arabic": "وصل الطرد متأخرا يومين وكانت العلبة مفتوحة. كتبت إلى المتجر يوم الاثنين ولم يجب أحد حتى الآن. هل يمكنكم إخباري "
    "إن كان البديل قد أرسل وكيف أعيد المصباح المكسور؟",
    "hindi": "पार्सल दो दिन देर से आया और डिब्बा खुला हुआ था। मैंने सोमवार को दुकान को लिखा, अब तक किसी ने जवाब नहीं दिया। कृपया "
    "बताइए कि बदले का सामान भेजा गया है या नहीं।",
    "thai": "พัสดุมาถึงช้าไปสองวันและกล่องเปิดอยู่ ฉันเขียนถึงร้านเมื่อวันจันทร์ แต่ยังไม่มีใครตอบ กรุณาบอกว่าส่งสินค้าทดแทนแล้วหรือยัง",
    "python": "def total(rows: list[Row]) -> int:\n    by_day = defaultdict(int)\n    for row in rows:\n        if row.cost is "
    'None:\n            raise ValueError(f"no cost in {row.name!r}")\n        by_day[row.day] += row.cost\n    return sum(by_day.values())\n',
    "json": '{"order": {"id": 48213, "status": "open", "items": [{"sku": "LMP-220", "count": 2, "price": 19.9}, {"sku": '
    '"BLB-7", "count": 10, "price": 1.25}], "ship_to": {"city": "Graz", "zip": "8010"}}, "paid": true}',
    "csv": "id,date,customer,amount,currency\n1041,2026-03-02,Huber,19.90,EUR\n1042,2026-03-02,Novak,240.00,EUR\n1043,2026-03-05,"
    "Smith,8.75,USD\n1044,2026-03-09,Tanaka,1200,JPY\n",
}
