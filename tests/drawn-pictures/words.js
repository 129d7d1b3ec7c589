// @ts-check
/** Words, sentences, names and amounts in several scripts. */

/** @typedef {import('./random.js').Random} Random */

/** Words by language; the fonts of Debian's Chromium packages have all of these letters. */
const WORDS = {
  en: `account after again amount answer apple april autumn balance before between bicycle blue bridge
    budget building cabinet candle captain carpet castle change chapter circle city client closing
    coffee company copper corner cotton country credit customer danger delivery design dinner doctor
    early eastern edition eight engine evening every family farmer february figure final forest friday
    friend garden general glass golden ground harbor history holiday house important indeed invoice
    island january journey kitchen lantern large letter library little london machine market matter
    meeting member memory million minute mirror monday morning mountain music nature needle never
    northern notice number office orange order other paper parcel parent pepper person picture please
    policy present price problem product project promise public quarter question railway reason receipt
    record region report river school season second service seven silver simple spring station storm
    street student summer sunday supply system table teacher tenant thirty thursday together tomorrow
    total travel tuesday under united until village violet walking water weather western window winter
    without wonder yellow yesterday a an and as at be but by for from in is it no not of on or so that
    the to we were will with you`,
  de: `Abend Adresse Anfrage Antwort Auftrag Bahnhof Bericht Betrag Brücke Buchung Datum Eingang Fahrrad
    Fenster Frühling Garten Gebäude Geschäft Gruß Hafen Herbst Jahr Kaffee Konto Kunde Lieferung Lösung
    Menge Morgen Nachricht Nummer Preis Prüfung Rechnung Schlüssel Schule Sommer Straße Teilnehmer
    Überweisung Unterschrift Verein Vertrag Wasser Werkstatt Zahlung Zeitung bitte dass der die das ein
    eine für gegen haben ist mit nach nicht oder sehr sie sind und unter von wir zu`,
  ru: `адрес апрель берег вечер взгляд вода вопрос время город дата дерево договор дорога завод зима книга
    количество комната лето магазин месяц море неделя номер область ответ отчет оплата письмо погода
    покупатель помощь поставка правило праздник пример работа река сад сведения сегодня слово снег
    сообщение срок страна сумма товар услуга утро школа язык без был для из как мы на но от очень по при
    с только что это`,
  el: `αγορά άνοιξη απάντηση αριθμός βιβλίο γράμμα γραφείο δρόμος εβδομάδα εποχή έργο ημέρα θάλασσα καιρός
    κήπος λογαριασμός μήνας νερό νησί ουρανός παράθυρο παραγγελία πόλη ποσό πρωί σπίτι σχολείο τιμή
    υπηρεσία φθινόπωρο χειμώνας χρόνος και με να στο της του το η ο για από δεν είναι`,
  ar: `السوق الربيع الجواب رقم كتاب رسالة مكتب الطريق أسبوع مشروع يوم البحر الطقس حديقة حساب شهر ماء جزيرة
    السماء نافذة طلب مدينة مبلغ صباح بيت مدرسة سعر خدمة الخريف الشتاء الوقت في من على إلى عن هذا هذه مع
    كان بعد قبل`,
  zh: `市场 春天 回答 号码 书 信件 办公室 道路 星期 项目 日期 大海 天气 花园 账户 月份 水 岛屿 天空 窗户 订单 城市 金额 早晨 房子 学校 价格 服务 秋天 冬天 时间 的 在 和 是
    我们 他们 今天 明天 客户 公司 报告 请 谢谢 重要 问题`,
};

const NAMES = {
  first: `Ada Boris Carla Dmitri Elena Felix Greta Hugo Ines Jonas Kofi Lena Mina Nils Olga Pavel Quinn
    Rosa Sven Tara Umar Vera Wanda Yusuf Zora`,
  last: `Adler Brandt Costa Dvorak Eriksen Fontana Gruber Haddad Ivanov Jansen Kowalski Lindqvist
    Moreau Novak Okafor Petrov Quist Rossi Schmidt Tanaka Ullman Varga Weber Yilmaz Zimmer`,
};

/** @param {string} text */
const split = (text) => text.trim().split(/\s+/);
const first = split(NAMES.first);
const last = split(NAMES.last);

/** @typedef {keyof typeof WORDS} Language */
export const LANGUAGES = /** @type {Language[]} */ (Object.keys(WORDS));
const lists = Object.fromEntries(LANGUAGES.map((language) => [language, split(WORDS[language])]));

export class Words {
  #random;
  #list;
  #space;

  /** @param {Random} random @param {Language} language */
  constructor(random, language = 'en') {
    this.#random = random;
    this.#list = lists[language];
    this.#space = language === 'zh' ? '' : ' ';
    this.direction = language === 'ar' ? 'rtl' : 'ltr';
  }

  word() {
    return this.#random.pick(this.#list);
  }

  /** @param {number} least @param {number} most */
  phrase(least = 1, most = 4) {
    const words = this.#random.times(this.#random.int(least, most), () => this.word());
    const text = words.join(this.#space);
    return text[0].toUpperCase() + text.slice(1);
  }

  sentence() {
    return `${this.phrase(4, 14)}.`;
  }

  /** @param {number} sentences */
  paragraph(sentences) {
    return this.#random.times(sentences, () => this.sentence()).join(' ');
  }

  name() {
    return `${this.#random.pick(first)} ${this.#random.pick(last)}`;
  }

  date() {
    const [month, day] = [this.#random.int(1, 12), this.#random.int(1, 28)];
    return [this.#random.int(2015, 2027), month, day].map((part) => `${part}`.padStart(2, '0')).join('-');
  }

  /** @param {number} most */
  amount(most = 5000) {
    return this.#random.between(1, most).toFixed(2);
  }
}
